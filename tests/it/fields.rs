//! Structured fields (RFC 9651) as deckle reads them, by the cases of httpwg/structured-field-tests.

use sfv::{Dictionary, FieldType, Item, List, Parser};

#[test]
fn the_cases_of_the_working_group() {
    let dir = std::env::var("DECKLE_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
    let Ok(files) = std::fs::read_dir(format!("{dir}/structured-fields")) else {
        eprintln!("skipped: no vectors (set DECKLE_VECTORS)");
        return;
    };
    let (mut read, mut refused) = (0, 0);
    for file in files.flatten().filter(|f| f.path().extension().is_some_and(|x| x == "json")) {
        let Ok(cases) = serde_json::from_slice::<Vec<serde_json::Value>>(&std::fs::read(file.path()).unwrap()) else {
            continue;
        };
        for case in cases {
            // Cases of the serialiser alone have no text.
            let Some(lines) = case["raw"].as_array() else { continue };
            let text = lines.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join(", ");
            let name = format!("{}: {}", file.file_name().to_string_lossy(), case["name"]);
            let canonical = case["canonical"].as_array().map_or_else(
                || text.clone(),
                |lines| lines.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join(", "),
            );
            let written = match case["header_type"].as_str().unwrap() {
                "dictionary" => Parser::new(&text).parse::<Dictionary>().map(|d| d.serialize().unwrap_or_default()),
                "list" => Parser::new(&text).parse::<List>().map(|l| l.serialize().unwrap_or_default()),
                _ => Parser::new(&text).parse::<Item>().map(|item| item.serialize()),
            };
            match written {
                Ok(_) if case["must_fail"] == true => panic!("{name}: {text:?} is read"),
                Ok(written) => {
                    assert_eq!(written, canonical, "{name}");
                    read += 1;
                }
                Err(error) => {
                    assert!(case["must_fail"] == true || case["can_fail"] == true, "{name}: {text:?} {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(read > 500 && refused > 300, "{read} {refused}");
}
