//! `summary.html`: one page that needs nothing else, and in which nothing of the visitor's is markup.

use super::PackSummary;
use super::context::Facts;

/// Text for HTML; what hides or reorders text is shown as a question mark.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if crate::audit::is_hidden(c) => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Evidence</title>
<style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { border-bottom: 1px solid; padding: .2rem .6rem; text-align: left; overflow-wrap: anywhere; vertical-align: top; }
</style>
</head>
<body>
<main>
";

pub(super) fn html(pack: &PackSummary, facts: &Facts) -> String {
    let mut out = HEAD.to_owned();
    let subject = if pack.visitor.is_empty() {
        format!("{} requests", pack.requests)
    } else {
        format!("Visitor {}", escape(&pack.visitor))
    };
    out.push_str(&format!("<h1>{subject}</h1>\n<table>\n<caption>What the log says</caption>\n"));
    let counts = |counts: &std::collections::BTreeMap<String, u64>| {
        let parts: Vec<String> = counts.iter().map(|(name, number)| format!("{name}: {number}")).collect();
        parts.join(", ")
    };
    let time = |time: &Option<String>| time.clone().unwrap_or_default();
    for (name, value) in [
        ("Responses", facts.lines.to_string()),
        ("From", time(&facts.first)),
        ("Until", time(&facts.last)),
        ("Bytes", facts.bytes.to_string()),
        ("Statuses", counts(&facts.statuses)),
        ("Actions", counts(&facts.actions)),
        ("Under signed heads", pack.signed.to_string()),
        ("Under heads that nobody has signed", pack.unsigned.to_string()),
        ("Without proof", pack.unproven.to_string()),
        ("Segments that could not be read", pack.unread.join("; ")),
        ("Keys", pack.keys.join(", ")),
        ("Heads that were sent away", pack.anchors.join("; ")),
    ] {
        row(&mut out, name, &value);
    }
    for (name, values) in &facts.named {
        for value in values {
            row(&mut out, name, value);
        }
    }
    out.push_str("</table>\n");
    responses(&mut out, facts);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn row(out: &mut String, name: &str, value: &str) {
    out.push_str(&format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escape(name), escape(value)));
}

fn responses(out: &mut String, facts: &Facts) {
    let caption = format!("The first {} of {} responses; all are in lines.ndjson", facts.rows.len(), facts.lines);
    out.push_str(&format!("<table>\n<caption>{caption}</caption>\n<tr>"));
    for name in ["Time", "Method", "Path", "Status", "Bytes", "Action"] {
        out.push_str(&format!("<th scope=\"col\">{name}</th>"));
    }
    out.push_str("</tr>\n");
    for cells in &facts.rows {
        out.push_str("<tr>");
        for cell in cells {
            out.push_str(&format!("<td>{}</td>", escape(cell)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_visitor_is_markup() {
        assert_eq!(escape("</title><script>\"'\u{202E}"), "&lt;/title&gt;&lt;script&gt;&quot;&#39;?");
    }
}
