//! What the challenge says, in each language, and which language a visitor gets.
//!
//! The texts tell what happens and that nothing need be done; none blames the reader, and none needs a plural.

/// The texts of one language.
#[derive(Debug)]
pub(super) struct Words {
    /// BCP 47.
    pub(super) lang: &'static str,
    /// `ltr` or `rtl`.
    pub(super) dir: &'static str,
    /// Of the window and of the page.
    pub(super) title: &'static str,
    pub(super) message: &'static str,
    pub(super) waiting: &'static str,
    /// To whoever came back too early; `{seconds}` is what is left.
    pub(super) early: &'static str,
    /// When the script has found its number.
    pub(super) opening: &'static str,
    /// Of the link.
    pub(super) proceed: &'static str,
    /// Before the address.
    pub(super) contact: &'static str,
    /// Before the number.
    pub(super) request: &'static str,
}

const ENGLISH: Words = Words {
    lang: "en",
    dir: "ltr",
    title: "One moment, please",
    message: "This site publishes for people, and now and then makes sure that its pages reach them. \
        There is nothing you need to do.",
    waiting: "The page will open by itself in a moment.",
    early: "Nearly there: another {seconds} s, then the page will open by itself.",
    opening: "The page is opening.",
    proceed: "Continue to the page",
    contact: "Questions:",
    request: "Request",
};

const COUNT: usize = 8;

static WORDS: [Words; COUNT] = [
    ENGLISH,
    Words {
        lang: "de",
        dir: "ltr",
        title: "Einen Moment, bitte",
        message: "Diese Website ist für Menschen gemacht und vergewissert sich hin und wieder, dass ihre Seiten bei \
            ihnen ankommen. Sie müssen nichts tun.",
        waiting: "Die Seite öffnet sich gleich von selbst.",
        early: "Gleich ist es so weit: noch {seconds} s, dann öffnet sich die Seite von selbst.",
        opening: "Die Seite wird geöffnet.",
        proceed: "Weiter zur Seite",
        contact: "Fragen:",
        request: "Anfrage",
    },
    Words {
        lang: "fr",
        dir: "ltr",
        title: "Un instant, s’il vous plaît",
        message: "Ce site est fait pour des lecteurs et s’assure de temps à autre que ses pages leur parviennent. \
            Vous n’avez rien à faire.",
        waiting: "La page s’ouvrira d’elle-même dans un instant.",
        early: "C’est presque prêt\u{a0}: encore {seconds}\u{a0}s, puis la page s’ouvrira d’elle-même.",
        opening: "La page s’ouvre.",
        proceed: "Continuer vers la page",
        contact: "Questions\u{a0}:",
        request: "Requête",
    },
    Words {
        lang: "es",
        dir: "ltr",
        title: "Un momento, por favor",
        message: "Este sitio está hecho para las personas y, de vez en cuando, se asegura de que sus páginas lleguen \
            a ellas. No hace falta que haga nada.",
        waiting: "La página se abrirá sola en un momento.",
        early: "Ya casi está: {seconds} s más y la página se abrirá sola.",
        opening: "La página se está abriendo.",
        proceed: "Continuar a la página",
        contact: "Consultas:",
        request: "Solicitud",
    },
    Words {
        lang: "it",
        dir: "ltr",
        title: "Un momento, per favore",
        message: "Questo sito è fatto per le persone e ogni tanto si assicura che le sue pagine arrivino a loro. \
            Non occorre fare nulla.",
        waiting: "La pagina si aprirà da sola tra un momento.",
        early: "Ci siamo quasi: ancora {seconds} s, poi la pagina si aprirà da sola.",
        opening: "La pagina si sta aprendo.",
        proceed: "Vai alla pagina",
        contact: "Domande:",
        request: "Richiesta",
    },
    Words {
        lang: "pt",
        dir: "ltr",
        title: "Um momento, por favor",
        message: "Este site é feito para pessoas e, de vez em quando, certifica-se de que as suas páginas chegam até \
            elas. Não é preciso fazer nada.",
        waiting: "A página abrirá automaticamente dentro de instantes.",
        early: "Falta pouco: mais {seconds} s e a página abrirá automaticamente.",
        opening: "A página será aberta agora.",
        proceed: "Continuar para a página",
        contact: "Dúvidas:",
        request: "Pedido",
    },
    Words {
        lang: "nl",
        dir: "ltr",
        title: "Een ogenblik geduld",
        message: "Deze site is er voor mensen en gaat af en toe na of haar pagina’s bij hen terechtkomen. \
            U hoeft niets te doen.",
        waiting: "De pagina gaat zo vanzelf open.",
        early: "Bijna klaar: nog {seconds} s, dan gaat de pagina vanzelf open.",
        opening: "De pagina wordt geopend.",
        proceed: "Doorgaan naar de pagina",
        contact: "Vragen:",
        request: "Verzoek",
    },
    Words {
        lang: "pl",
        dir: "ltr",
        title: "Prosimy o chwilę cierpliwości",
        message: "Ten serwis powstaje dla ludzi i od czasu do czasu upewnia się, że jego strony do nich trafiają. \
            Nie trzeba nic robić.",
        waiting: "Strona za chwilę otworzy się sama.",
        early: "Już prawie: jeszcze {seconds} s i strona otworzy się sama.",
        opening: "Strona się otwiera.",
        proceed: "Przejdź do strony",
        contact: "Pytania:",
        request: "Zapytanie",
    },
];

/// By `Accept-Language` (RFC 9110 §12.5.4): the language of the highest weight, the first of equal ones; else English.
pub(super) fn words(accept_language: Option<&str>) -> &'static Words {
    let mut best: (u16, &'static Words) = (0, &ENGLISH);
    // Languages with a range of their own: `*` says nothing of these.
    let mut named = [false; COUNT];
    let mut any_other = 0;
    for item in accept_language.unwrap_or_default().split(',') {
        let (range, parameters) = item.split_once(';').unwrap_or((item, ""));
        let Some(weight) = weight(parameters) else { continue };
        let primary = range.trim().split('-').next().unwrap_or_default();
        if primary == "*" {
            any_other = weight.max(any_other);
        }
        for (words, named) in WORDS.iter().zip(&mut named) {
            if words.lang.eq_ignore_ascii_case(primary) {
                *named = true;
                if weight > best.0 {
                    best = (weight, words);
                }
            }
        }
    }
    if any_other > best.0 {
        return WORDS.iter().zip(named).find(|(_, named)| !named).map_or(best.1, |(words, _)| words);
    }
    best.1
}

/// In thousandths; nothing for what is no weight.
fn weight(parameters: &str) -> Option<u16> {
    let Some((name, value)) = parameters.split_once('=') else {
        return parameters.trim().is_empty().then_some(1_000);
    };
    let value: f32 = value.trim().parse().ok()?;
    // Not a number is in no range.
    (name.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&value)).then_some((value * 1_000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_follows_the_weights() {
        for (header, lang) in [
            ("de", "de"),
            ("DE-at", "de"),
            ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
            ("en;q=0.2, fr;q=0.7, it;q=0.5", "fr"),
            ("fr;q=0.5, it;q=0.5", "fr"),
            ("it ; Q=0.5 , fr ; q = 0.4", "it"),
            ("sv, da;q=0.9, nl;q=0.1", "nl"),
            ("zh-CN", "en"),
            ("eno, deutsch", "en"),
            ("*", "en"),
            ("*;q=0.9, pl;q=0.1", "en"),
            ("*;q=0.1, pl;q=0.9", "pl"),
            ("en;q=0, *", "de"),
            ("en-GB;q=0.4, de;q=0, *;q=0.5", "fr"),
            ("fr;q=0", "en"),
            ("", "en"),
        ] {
            assert_eq!(words(Some(header)).lang, lang, "{header}");
        }
        assert_eq!(words(None).lang, "en");
    }

    #[test]
    fn what_is_no_weight_is_passed_over() {
        for header in [
            "de;q=",
            "de;q=x",
            "de;q=NaN",
            "de;q=inf",
            "de;q=-1",
            "de;q=2",
            "de;q",
            "de;v=1",
            ";q=1",
            "-",
            ";;;",
            "de;q=0.5;q=1",
            "de;q=1e400",
            ",,,",
            "=",
            "*;q=zz",
        ] {
            assert_eq!(words(Some(header)).lang, "en", "{header}");
            assert_eq!(words(Some(&format!("{header}, nl;q=0.001"))).lang, "nl", "{header}");
        }
    }

    #[test]
    fn every_language_says_everything() {
        for words in &WORDS {
            let Words { lang, dir, title, message, waiting, early, opening, proceed, contact, request } = words;
            assert!(lang.len() == 2 && *dir == "ltr", "{lang}");
            assert_eq!(super::words(Some(lang)).lang, *lang);
            assert_eq!(early.matches("{seconds}").count(), 1, "{lang}");
            for text in [title, message, waiting, early, opening, proceed, contact, request] {
                assert!(!text.is_empty() && text.len() <= 200 && text.trim() == *text, "{lang}: {text}");
                assert!(!text.contains("  ") && !text.contains(['\n', '<', '&', '\'', '"']), "{lang}: {text}");
            }
            for text in [title, message, waiting, opening, proceed, contact, request] {
                assert!(!text.contains(['{', '}']) && !text.chars().any(char::is_numeric), "{lang}: {text}");
            }
        }
        let titles: std::collections::HashSet<_> = WORDS.iter().map(|w| w.title).collect();
        assert_eq!(titles.len(), COUNT);
    }
}
