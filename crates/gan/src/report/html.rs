//! `report.html`: a run at a glance, in one file that needs nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// What the page of a run shows.
pub(crate) struct Page<'a> {
    /// Name of the run.
    pub(crate) title: &'a str,
    /// One line each: how far the run is and what it found.
    pub(crate) summary: &'a [String],
    /// The run's measures of itself.
    pub(crate) measurements: Option<Table>,
    /// Headline and SVG of each diagram.
    pub(crate) diagrams: &'a [(&'a str, String)],
    /// The newest sample grid, a PNG.
    pub(crate) grid: Option<&'a [u8]>,
    /// The grids so far as an animated PNG.
    pub(crate) animation: Option<&'a [u8]>,
    /// The settings, the text of `run.toml`.
    pub(crate) settings: &'a str,
}

/// A table of three columns.
pub(crate) struct Table {
    pub(crate) head: [String; 3],
    pub(crate) rows: Vec<[String; 3]>,
    pub(crate) caption: String,
}

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
figure { margin: 0; } figcaption { font-size: .85rem; opacity: .75; }
.row { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.diagram { background: #fff; max-width: 100%; overflow-x: auto; } .diagram svg { max-width: 100%; height: auto; }
img { max-width: 100%; image-rendering: pixelated; }
table { border-collapse: collapse; } th, td { padding: .15rem 1.2rem .15rem 0; text-align: left; font-weight: normal; }
pre { overflow-x: auto; padding: .8rem; background: #8881; }
";

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

fn picture(png: &[u8], caption: &str) -> String {
    let data = STANDARD.encode(png);
    let caption = escaped(caption);
    format!(
        "<figure><img src=\"data:image/png;base64,{data}\" alt=\"{caption}\"><figcaption>{caption}</figcaption></figure>\n"
    )
}

/// The page as HTML.
pub(crate) fn html(page: &Page<'_>) -> String {
    let title = escaped(page.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for line in page.summary {
        push_element(&mut out, "p", "", line);
    }
    if page.grid.is_some() || page.animation.is_some() {
        out.push_str("<h2>Samples</h2>\n<div class=\"row\">\n");
        if let Some(grid) = page.grid {
            out.push_str(&picture(grid, "now"));
        }
        if let Some(animation) = page.animation {
            out.push_str(&picture(
                animation,
                "from the start until now, the same noise in every frame",
            ));
        }
        out.push_str("</div>\n");
    }
    if let Some(table) = &page.measurements {
        push_element(&mut out, "h2", "", "Measures");
        out.push_str("<table>\n");
        for row in std::iter::once(&table.head).chain(&table.rows) {
            let cells = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell)));
            let _ = writeln!(out, "<tr>{}</tr>", cells.collect::<String>());
        }
        out.push_str("</table>\n");
        push_element(&mut out, "p", "", &table.caption);
    }
    for (headline, svg) in page.diagrams {
        push_element(&mut out, "h2", "", headline);
        // Drawn by this crate from numbers; its texts are constants.
        let _ = writeln!(out, "<div class=\"diagram\">{svg}</div>");
    }
    out.push_str("<h2>Settings</h2>\n");
    push_element(&mut out, "pre", "", page.settings);
    out.push_str("</body>\n</html>\n");
    out
}

/// An element that holds text.
fn push_element(out: &mut String, element: &str, attributes: &str, text: &str) {
    let _ = writeln!(out, "<{element}{attributes}>{}</{element}>", escaped(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_run_is_taken_for_html() {
        let page = Page {
            title: "<script>alert(1)</script>",
            summary: &["a & b".into()],
            measurements: None,
            diagrams: &[("losses", "<svg></svg>".into())],
            grid: Some(&[1, 2, 3]),
            animation: None,
            settings: "data = '</pre>'",
        };
        let text = html(&page);
        assert!(
            !text.contains("<script") && text.contains("&lt;script&gt;alert(1)"),
            "{text}"
        );
        assert!(text.contains("a &amp; b"));
        assert!(text.contains("&lt;/pre&gt;"));
        assert!(text.contains("data:image/png;base64,AQID"));
        // Nothing is fetched from elsewhere.
        assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("src=\"/"));
    }
}
