//! What the guard says, in each language, and which language a page gets.
//!
//! The texts tell what happened, nothing else: no number in them needs a plural, none blames the reader.

/// Language (BCP 47), what is said when copying is switched off, and when an excerpt was shortened.
#[rustfmt::skip]
pub(super) const LANGUAGES: [(&str, &str, &str); 35] = [
    ("en", "Copying is switched off on this page.",
        "A short excerpt was copied, together with its source."),
    ("es", "La copia está desactivada en esta página.",
        "Se ha copiado un breve extracto con su fuente."),
    ("fr", "La copie est désactivée sur cette page.",
        "Un court extrait a été copié avec sa source."),
    ("de", "Kopieren ist auf dieser Seite ausgeschaltet.",
        "Ein kurzer Auszug wurde mit Quellenangabe kopiert."),
    ("it", "La copia è disattivata in questa pagina.",
        "È stato copiato un breve estratto con la fonte."),
    ("pt", "A cópia está desativada nesta página.",
        "Foi copiado um breve trecho com a respetiva fonte."),
    ("pt-BR", "A cópia está desativada nesta página.",
        "Um trecho curto foi copiado com a fonte."),
    ("nl", "Kopiëren is op deze pagina uitgeschakeld.",
        "Een kort fragment is gekopieerd, met bronvermelding."),
    ("sv", "Kopiering är avstängd på den här sidan.",
        "Ett kort utdrag kopierades med källa."),
    ("da", "Kopiering er slået fra på denne side.",
        "Et kort uddrag blev kopieret med kilde."),
    ("nb", "Kopiering er slått av på denne siden.",
        "Et kort utdrag ble kopiert med kilde."),
    ("fi", "Kopiointi on poistettu käytöstä tällä sivulla.",
        "Lyhyt ote kopioitiin lähteineen."),
    ("pl", "Kopiowanie jest na tej stronie wyłączone.",
        "Skopiowano krótki fragment wraz ze źródłem."),
    ("cs", "Kopírování je na této stránce vypnuto.",
        "Byl zkopírován krátký úryvek se zdrojem."),
    ("sk", "Kopírovanie je na tejto stránke vypnuté.",
        "Skopíroval sa krátky úryvok so zdrojom."),
    ("hu", "A másolás ezen az oldalon ki van kapcsolva.",
        "Rövid részlet került a vágólapra a forrással együtt."),
    ("ro", "Copierea este dezactivată pe această pagină.",
        "A fost copiat un scurt fragment, împreună cu sursa."),
    ("el", "Η αντιγραφή είναι απενεργοποιημένη σε αυτή τη σελίδα.",
        "Αντιγράφηκε ένα σύντομο απόσπασμα με την πηγή του."),
    ("tr", "Bu sayfada kopyalama kapalı.",
        "Kısa bir alıntı kaynağıyla birlikte kopyalandı."),
    ("ru", "Копирование на этой странице отключено.",
        "Скопирован короткий отрывок с указанием источника."),
    ("uk", "Копіювання на цій сторінці вимкнено.",
        "Скопійовано короткий уривок із зазначенням джерела."),
    ("bg", "Копирането на тази страница е изключено.",
        "Копиран е кратък откъс с посочен източник."),
    ("ar", "النسخ معطّل في هذه الصفحة.",
        "تم نسخ مقتطف قصير مع ذكر المصدر."),
    ("fa", "رونوشت‌برداری در این صفحه غیرفعال است.",
        "بخش کوتاهی همراه با منبع رونوشت شد."),
    ("he", "ההעתקה מושבתת בדף זה.",
        "הועתק קטע קצר בצירוף המקור."),
    ("ur", "اس صفحے پر نقل کرنا بند ہے۔",
        "ماخذ کے ساتھ ایک مختصر اقتباس نقل کیا گیا۔"),
    ("hi", "इस पृष्ठ पर कॉपी करना बंद है।",
        "स्रोत सहित एक छोटा अंश कॉपी किया गया।"),
    ("bn", "এই পাতায় কপি করা বন্ধ আছে।",
        "উৎসসহ একটি ছোট অংশ কপি হয়েছে।"),
    ("zh-Hans", "本页面已关闭复制功能。",
        "已复制一小段摘录并附上来源。"),
    ("zh-Hant", "本頁面已關閉複製功能。",
        "已複製一小段摘錄並附上來源。"),
    ("ja", "このページではコピーできません。",
        "短い抜粋を出典付きでコピーしました。"),
    ("ko", "이 페이지에서는 복사할 수 없습니다.",
        "출처와 함께 짧은 발췌문이 복사되었습니다."),
    ("vi", "Trang này đã tắt chức năng sao chép.",
        "Đã sao chép một đoạn trích ngắn kèm nguồn."),
    ("id", "Penyalinan dinonaktifkan di halaman ini.",
        "Kutipan singkat telah disalin beserta sumbernya."),
    ("th", "หน้านี้ปิดการคัดลอกไว้",
        "คัดลอกข้อความสั้น ๆ พร้อมแหล่งที่มาแล้ว"),
];

/// The names under which a language may be known here, the closest first.
pub(crate) fn candidates(tag: &str) -> Vec<String> {
    let tag = tag.trim().replace('_', "-");
    let mut parts = tag.split('-');
    let primary = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "no" | "nn" => "nb".to_owned(),
        "iw" => "he".to_owned(),
        "in" => "id".to_owned(),
        other => other.to_owned(),
    };
    let mut names = vec![tag.clone()];
    if primary == "zh" {
        let traditional = parts.any(|p| ["hant", "tw", "hk", "mo"].iter().any(|t| p.eq_ignore_ascii_case(t)));
        names.push(if traditional { "zh-Hant" } else { "zh-Hans" }.to_owned());
    }
    names.push(primary);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_candidates() {
        for (tag, last) in [
            ("de-AT", "de"),
            ("pt-BR", "pt"),
            ("zh-TW", "zh-Hant"),
            ("zh-HK", "zh-Hant"),
            ("zh", "zh-Hans"),
            ("zh-CN", "zh-Hans"),
            ("nn-NO", "nb"),
            ("iw", "he"),
            ("in", "id"),
            ("ar_EG", "ar"),
            ("xx-!!", "xx"),
            ("", ""),
        ] {
            assert!(candidates(tag).iter().any(|c| c == last), "{tag}: {:?}", candidates(tag));
        }
    }

    #[test]
    fn texts_are_short_and_say_no_numbers() {
        assert!(LANGUAGES.len() >= 30);
        for (language, block, quote) in LANGUAGES {
            for text in [block, quote] {
                assert!(!text.is_empty() && text.len() <= 160, "{language}: {text}");
                assert!(!text.chars().any(|c| c.is_numeric() || c.is_control()), "{language}: {text}");
            }
        }
    }
}
