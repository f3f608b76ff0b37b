//! Flat illustrations, drawn from a few shapes.

const NAMES: [&str; 12] = [
    "ferry",
    "lighthouse",
    "market",
    "bridge",
    "library",
    "observatory",
    "boats",
    "orchard",
    "tram",
    "storm",
    "choir",
    "chess",
];

/// Sky above, sky below, far hills, near ground, accent.
const PALETTES: [[&str; 5]; 6] = [
    ["#f6c177", "#f9e2c7", "#7a8fa6", "#2f4858", "#d1495b"],
    ["#9cc5d8", "#e8f1f2", "#6b8f8a", "#1b3a4b", "#e07a3f"],
    ["#d8c3e0", "#f8edeb", "#8d86a8", "#3d3a5c", "#e2a03f"],
    ["#27374d", "#526d82", "#3c4f65", "#16202e", "#f2c14e"],
    ["#b7d3a8", "#f2f4e1", "#7d9d6a", "#33502f", "#c8553d"],
    ["#8fa3b5", "#cfd8df", "#5d6f80", "#26323d", "#eae2b7"],
];

/// Every image of the site, by path: illustrations in three sizes, portraits, icons.
pub(super) fn all() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (index, name) in NAMES.iter().enumerate() {
        for (size, width, height) in [("hero", 1_200, 675), ("card", 640, 400), ("thumb", 160, 120)] {
            out.push((format!("/img/{name}-{size}.svg"), scene(name, index, width, height)));
        }
    }
    for (index, author) in super::content::authors().iter().enumerate() {
        out.push((format!("/img/author-{}.svg", super::content::slug(author)), portrait(author, index)));
    }
    for (index, section) in super::content::SECTIONS.iter().enumerate() {
        out.push((format!("/img/icon-{}.svg", section.to_ascii_lowercase()), icon(index)));
    }
    out.push(("/img/logo.svg".into(), LOGO.into()));
    out.push(("/favicon.svg".into(), FAVICON.into()));
    out
}

fn scene(name: &str, index: usize, width: u32, height: u32) -> String {
    let [top, bottom, far, near, accent] = PALETTES[index % PALETTES.len()];
    let sun = if index % PALETTES.len() == 3 { "#f4f1de" } else { "#fffaf0" };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 320 200\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"xMidYMid slice\">\
         <defs><linearGradient id=\"s\" x2=\"0\" y2=\"1\"><stop stop-color=\"{top}\"/><stop offset=\"1\" stop-color=\"{bottom}\"/></linearGradient></defs>\
         <rect width=\"320\" height=\"200\" fill=\"url(#s)\"/><circle cx=\"{}\" cy=\"58\" r=\"22\" fill=\"{sun}\" opacity=\".85\"/>\
         <path d=\"M0 132q40-34 84-14t76-10 74 8 86-14v98H0z\" fill=\"{far}\" opacity=\".75\"/>\
         <path d=\"M0 158q60-10 110-2t100-6 110 4v46H0z\" fill=\"{near}\"/>{}\
         <g fill=\"none\" stroke=\"{bottom}\" stroke-width=\"1.5\" opacity=\".5\"><path d=\"M20 178h48M96 186h70M190 176h42M246 188h54\"/></g></svg>",
        60 + (index * 53) % 200,
        figure(name, near, accent, bottom)
    )
}

fn figure(name: &str, dark: &str, accent: &str, light: &str) -> String {
    match name {
        "ferry" => format!(
            "<path d=\"M92 140h136l-14 26H108z\" fill=\"{accent}\"/><rect x=\"112\" y=\"118\" width=\"92\" height=\"22\" fill=\"{light}\"/><rect x=\"132\" y=\"102\" width=\"44\" height=\"16\" fill=\"{dark}\"/><rect x=\"182\" y=\"96\" width=\"10\" height=\"22\" fill=\"{accent}\"/>"
        ),
        "lighthouse" => format!(
            "<path d=\"M150 60h20l9 98h-38z\" fill=\"{light}\"/><path d=\"M147 88h26l2 18h-30zM144 124h33l2 18h-37z\" fill=\"{accent}\"/><rect x=\"147\" y=\"46\" width=\"26\" height=\"14\" fill=\"{dark}\"/><path d=\"M173 52l110-22v34z\" fill=\"{light}\" opacity=\".4\"/>"
        ),
        "market" => format!(
            "<path d=\"M70 108h180v8H70z\" fill=\"{dark}\"/><path d=\"M70 84h180l12 24H58z\" fill=\"{accent}\"/><path d=\"M94 84l-8 24h24l4-24zM148 84l-2 24h26l-2-24zM204 84l6 24h24l-10-24z\" fill=\"{light}\"/><path d=\"M80 116v44M240 116v44\" stroke=\"{dark}\" stroke-width=\"5\"/><rect x=\"98\" y=\"136\" width=\"36\" height=\"24\" fill=\"{light}\"/><rect x=\"146\" y=\"130\" width=\"36\" height=\"30\" fill=\"{accent}\"/><rect x=\"194\" y=\"138\" width=\"32\" height=\"22\" fill=\"{light}\"/>"
        ),
        "bridge" => format!(
            "<path d=\"M0 128h320v10H0z\" fill=\"{dark}\"/><path d=\"M84 60v108M236 60v108\" stroke=\"{dark}\" stroke-width=\"8\"/><path d=\"M0 120Q50 66 84 66q76 108 152 0 34 0 84 54\" fill=\"none\" stroke=\"{accent}\" stroke-width=\"4\"/><path d=\"M110 96v32M136 112v16M160 118v10M184 112v16M210 96v32\" stroke=\"{accent}\" stroke-width=\"2\"/>"
        ),
        "library" => format!(
            "<path d=\"M80 96l80-40 80 40z\" fill=\"{accent}\"/><rect x=\"86\" y=\"96\" width=\"148\" height=\"66\" fill=\"{light}\"/><path d=\"M102 104v52M130 104v52M190 104v52M218 104v52\" stroke=\"{dark}\" stroke-width=\"9\"/><rect x=\"148\" y=\"120\" width=\"24\" height=\"42\" fill=\"{dark}\"/>"
        ),
        "observatory" => format!(
            "<path d=\"M112 122a48 48 0 0 1 96 0z\" fill=\"{light}\"/><path d=\"M154 74l40-30 10 12-38 34z\" fill=\"{accent}\"/><rect x=\"108\" y=\"122\" width=\"104\" height=\"40\" fill=\"{dark}\"/><g fill=\"{light}\"><circle cx=\"40\" cy=\"34\" r=\"2\"/><circle cx=\"92\" cy=\"52\" r=\"1.5\"/><circle cx=\"250\" cy=\"30\" r=\"2\"/><circle cx=\"290\" cy=\"62\" r=\"1.5\"/></g>"
        ),
        "boats" => format!(
            "<path d=\"M70 150h70l-12 18H82z\" fill=\"{accent}\"/><path d=\"M104 82v66H72z\" fill=\"{light}\"/><path d=\"M188 144h88l-14 22h-60z\" fill=\"{light}\"/><path d=\"M230 60v82h44z\" fill=\"{accent}\"/><path d=\"M104 78v72M230 54v90\" stroke=\"{dark}\" stroke-width=\"3\"/>"
        ),
        "orchard" => format!(
            "<g fill=\"{dark}\"><rect x=\"76\" y=\"118\" width=\"8\" height=\"44\"/><rect x=\"156\" y=\"112\" width=\"8\" height=\"50\"/><rect x=\"236\" y=\"120\" width=\"8\" height=\"42\"/></g><g fill=\"#5f8f4e\"><circle cx=\"80\" cy=\"98\" r=\"32\"/><circle cx=\"160\" cy=\"88\" r=\"38\"/><circle cx=\"240\" cy=\"100\" r=\"32\"/></g><g fill=\"{accent}\"><circle cx=\"68\" cy=\"94\" r=\"5\"/><circle cx=\"92\" cy=\"106\" r=\"5\"/><circle cx=\"148\" cy=\"78\" r=\"5\"/><circle cx=\"176\" cy=\"96\" r=\"5\"/><circle cx=\"230\" cy=\"92\" r=\"5\"/><circle cx=\"252\" cy=\"110\" r=\"5\"/></g>"
        ),
        "tram" => format!(
            "<path d=\"M0 62h320\" stroke=\"{dark}\" stroke-width=\"2\"/><path d=\"M150 84l14-20\" stroke=\"{dark}\" stroke-width=\"3\"/><rect x=\"72\" y=\"84\" width=\"176\" height=\"66\" rx=\"10\" fill=\"{accent}\"/><rect x=\"84\" y=\"94\" width=\"152\" height=\"26\" fill=\"{light}\"/><path d=\"M122 94v26M160 94v26M198 94v26\" stroke=\"{accent}\" stroke-width=\"5\"/><circle cx=\"106\" cy=\"154\" r=\"8\" fill=\"{dark}\"/><circle cx=\"214\" cy=\"154\" r=\"8\" fill=\"{dark}\"/>"
        ),
        "storm" => format!(
            "<path d=\"M70 78a28 28 0 0 1 52-14 34 34 0 0 1 62 4 26 26 0 0 1 42 26H78a18 18 0 0 1-8-16z\" fill=\"{dark}\"/><path d=\"M156 96l-22 40h20l-12 34 42-48h-22l16-26z\" fill=\"{accent}\"/><g stroke=\"{light}\" stroke-width=\"2\" opacity=\".7\"><path d=\"M88 104l-10 26M112 106l-10 26M206 104l-10 26M228 102l-10 26\"/></g>"
        ),
        "choir" => {
            let people: String = (0..6u32)
                .map(|i| {
                    let x = 64 + i * 38;
                    let robe = if i % 2 == 0 { accent } else { light };
                    format!("<circle cx=\"{x}\" cy=\"104\" r=\"11\" fill=\"{light}\"/><path d=\"M{} 164q2-46 18-46t18 46z\" fill=\"{robe}\"/>", x - 18)
                })
                .collect();
            people
                + &format!(
                    "<path d=\"M230 60q14-8 22 2v22\" fill=\"none\" stroke=\"{dark}\" stroke-width=\"3\"/><circle cx=\"248\" cy=\"86\" r=\"5\" fill=\"{dark}\"/>"
                )
        }
        _ => {
            let board: String = (0..32u32)
                .map(|i| {
                    let (row, column) = (i / 4, i % 4 * 2 + i / 4 % 2);
                    format!(
                        "<rect x=\"{}\" y=\"{}\" width=\"14\" height=\"14\" fill=\"{dark}\"/>",
                        104 + column * 14,
                        52 + row * 14
                    )
                })
                .collect();
            format!(
                "<rect x=\"100\" y=\"48\" width=\"120\" height=\"120\" fill=\"{light}\"/>{board}<circle cx=\"139\" cy=\"101\" r=\"6\" fill=\"{accent}\"/><circle cx=\"181\" cy=\"87\" r=\"6\" fill=\"{accent}\"/>"
            )
        }
    }
}

fn portrait(name: &str, index: usize) -> String {
    let [top, bottom, far, near, accent] = PALETTES[index % PALETTES.len()];
    let initials: String = name.split(' ').filter_map(|w| w.chars().next()).collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 96 96\" width=\"96\" height=\"96\"><rect width=\"96\" height=\"96\" fill=\"{top}\"/>\
         <circle cx=\"48\" cy=\"38\" r=\"18\" fill=\"{bottom}\"/><path d=\"M12 96q4-36 36-36t36 36z\" fill=\"{near}\"/>\
         <path d=\"M28 34q2-20 20-20t20 20q-8-8-20-8t-20 8z\" fill=\"{far}\"/><title>{initials}</title><circle cx=\"78\" cy=\"78\" r=\"6\" fill=\"{accent}\"/></svg>"
    )
}

fn icon(index: usize) -> String {
    let shape = match index {
        0 => "<path d=\"M4 20V9l5-4 5 4v11M14 20v-7l6-3v10\"/>",
        1 => "<path d=\"M4 20V12M10 20V6M16 20v-9M21 20V9\"/>",
        2 => "<path d=\"M8 18a3 3 0 1 1-3-3h3V5l11-2v12a3 3 0 1 1-3-3h3\"/>",
        3 => "<path d=\"M9 3h6M10 3v7l-6 10h16l-6-10V3\"/>",
        4 => "<circle cx=\"12\" cy=\"12\" r=\"8\"/><path d=\"M12 4v16M4 12h16\"/>",
        _ => "<path d=\"M4 5h16v11H11l-5 4v-4H4z\"/>",
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 24 24\" width=\"24\" height=\"24\" fill=\"none\" stroke=\"#26465a\" stroke-width=\"2\">{shape}</svg>"
    )
}

const LOGO: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 40\" width=\"40\" height=\"40\"><circle cx=\"20\" cy=\"20\" r=\"19\" fill=\"#1b3a4b\"/><path d=\"M20 7a4 4 0 1 1-1 8v4h6v3h-6v9q7-1 9-8l3 1q-3 10-11 10T9 24l3-1q2 7 6 8v-9h-5v-3h5v-4a4 4 0 0 1 2-8z\" fill=\"#f6efe2\"/></svg>";
const FAVICON: &str = LOGO;
