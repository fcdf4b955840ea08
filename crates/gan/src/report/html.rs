//! A [`Report`] as one self-contained HTML file.

use super::page::{Block, Picture, Plot, Report, Section, Table};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

pub use engraft_base::html_escaped as escaped;

/// The style sheet of all pages, for light and dark screens.
pub const STYLE: &str = "
:root { color-scheme: light dark; --text: #1d2125; --soft: #5c6670; --line: #d9dee3; --ground: #fff; --box: #f5f7f9; --mark: #b4530a; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e3e6e9; --soft: #9aa4ae; --line: #383f46; --ground: #16191c; --box: #1f2428; --mark: #f0a35e; }
}
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; color: var(--text);
  background: var(--ground); max-width: 74rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; overflow-wrap: break-word; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 2.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
p, ul { max-width: 46rem; margin: .4rem 0; } li { margin: .2rem 0; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; }
.warning { border-left: 4px solid var(--mark); background: var(--box); padding: .5rem .9rem; margin: 1rem 0; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.5rem 2rem; margin: 1rem 0; align-items: flex-start; }
figure { margin: 0; max-width: 100%; }
figcaption { font-size: .875rem; line-height: 1.45; color: var(--soft); margin-top: .4rem; contain: inline-size; }
img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; border-radius: 3px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 2rem; margin: 1rem 0; }
.plot p { font-size: .875rem; line-height: 1.45; color: var(--soft); margin: .3rem 0 0; } .plot svg { display: block; width: 100%; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; font-size: .875rem; }
.legend i { display: inline-block; width: 1.1rem; height: .22rem; margin-right: .4rem; vertical-align: middle; border-radius: 2px; }
.wide { overflow-x: auto; margin: 1rem 0 .5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .94rem; }
th, td { padding: .35rem 1.1rem .35rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
th:first-child, .text { text-align: left; } .text { padding-left: .5rem; } td.text { color: var(--soft); white-space: normal; min-width: 18rem; }
.caption { font-size: .875rem; color: var(--soft); }
details { margin: .8rem 0; } summary { cursor: pointer; color: var(--soft); }
pre { overflow-x: auto; padding: .9rem; background: var(--box); font-size: .85rem; line-height: 1.45; border-radius: 4px; }
@media (max-width: 40rem) {
  body { padding: 1.25rem 1rem 3rem; } h1 { font-size: 1.4rem; }
  .facts { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; }
  th[scope=row] { white-space: normal; } td.text { min-width: 12rem; }
}
";

/// The report as one HTML file, which loads nothing else. All text is escaped.
pub fn to_html(report: &Report) -> String {
    let title = escaped(&report.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    push_content(&mut out, report);
    out.push_str("</body>\n</html>\n");
    out
}

/// The report without its title as a part of an HTML page, which needs the style sheet [`STYLE`]. All text is escaped.
pub fn to_html_part(report: &Report) -> String {
    let mut out = String::new();
    push_content(&mut out, report);
    out
}

fn push_content(out: &mut String, report: &Report) {
    push_definitions(out, &report.facts);
    for warning in &report.warnings {
        let _ = writeln!(out, "<p class=\"warning\">{}</p>", escaped(warning));
    }
    for section in &report.sections {
        push_section(out, section);
    }
}

/// Appends an element with escaped text.
fn push_element(out: &mut String, element: &str, text: &str) {
    let _ = writeln!(out, "<{element}>{}</{element}>", escaped(text));
}

fn push_section(out: &mut String, section: &Section) {
    out.push_str("<section>\n");
    push_element(out, "h2", &section.heading);
    for text in &section.text {
        push_element(out, "p", text);
    }
    for block in &section.blocks {
        push_block(out, block);
    }
    out.push_str("</section>\n");
}

fn push_block(out: &mut String, block: &Block) {
    match block {
        Block::Pictures(pictures) => {
            out.push_str("<div class=\"pictures\">\n");
            pictures.iter().for_each(|picture| push_picture(out, picture));
            out.push_str("</div>\n");
        }
        Block::Plots(plots) => {
            out.push_str("<div class=\"plots\">\n");
            plots.iter().for_each(|plot| push_plot(out, plot));
            out.push_str("</div>\n");
        }
        Block::Table(table) => push_table(out, table),
        Block::List(items) => {
            out.push_str("<ul>\n");
            items.iter().for_each(|item| push_element(out, "li", item));
            out.push_str("</ul>\n");
        }
        Block::Definitions {
            title,
            definitions,
            is_open,
        } => {
            let open = if *is_open { " open" } else { "" };
            let _ = writeln!(out, "<details{open}><summary>{}</summary>", escaped(title));
            push_definitions(out, definitions);
            out.push_str("</details>\n");
        }
        Block::Verbatim(title, text) => {
            let _ = writeln!(out, "<details><summary>{}</summary>", escaped(title));
            push_element(out, "pre", text);
            out.push_str("</details>\n");
        }
    }
}

fn push_definitions(out: &mut String, definitions: &[(String, String)]) {
    if definitions.is_empty() {
        return;
    }
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in definitions {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
    }
    out.push_str("</dl>\n");
}

fn push_picture(out: &mut String, picture: &Picture) {
    let data = STANDARD.encode(&picture.png);
    let ([width, height], caption) = (picture.size, escaped(&picture.caption));
    let _ = writeln!(
        out,
        "<figure><img src=\"data:image/png;base64,{data}\" width=\"{width}\" height=\"{height}\" alt=\"{caption}\">\
         <figcaption>{caption}</figcaption></figure>"
    );
}

fn push_plot(out: &mut String, plot: &Plot) {
    out.push_str("<div class=\"plot\">\n");
    push_element(out, "h3", &plot.heading);
    out.push_str("<div class=\"legend\">");
    for (name, color) in &plot.legend {
        let _ = write!(
            out,
            "<span><i style=\"background:{}\"></i>{}</span>",
            escaped(color),
            escaped(name)
        );
    }
    let _ = writeln!(out, "</div>\n{}", plot.svg);
    push_element(out, "p", &plot.explanation);
    out.push_str("</div>\n");
}

fn push_table(out: &mut String, table: &Table) {
    let is_text = |column: usize| table.ends_with_text && column + 1 == table.head.len();
    let class = |column: usize| if is_text(column) { " class=\"text\"" } else { "" };
    out.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for (i, cell) in table.head.iter().enumerate() {
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(i), escaped(cell));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let cell = escaped(cell);
            let _ = match i {
                0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                _ => write!(out, "<td{}>{cell}</td>", class(i)),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table></div>\n");
    let _ = writeln!(out, "<p class=\"caption\">{}</p>", escaped(&table.caption));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNS: &str = "<script>alert('1')</script> & \"2\"";
    const SAFE: &str = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;2&quot;";

    #[test]
    fn no_text_is_taken_for_html() {
        let text = || SIGNS.to_string();
        let pair = || (text(), text());
        let section = Section::new(text())
            .paragraph(text())
            .block(Block::Pictures(vec![Picture {
                png: vec![1, 2, 3],
                size: [2, 1],
                caption: text(),
            }]))
            .block(Block::Plots(vec![Plot {
                heading: text(),
                explanation: text(),
                legend: vec![pair()],
                svg: String::new(),
            }]))
            .block(Block::Table(Table {
                head: vec![text()],
                rows: vec![vec![text(), text()]],
                ends_with_text: false,
                caption: text(),
            }))
            .block(Block::List(vec![text()]))
            .block(Block::Definitions {
                title: text(),
                definitions: vec![pair()],
                is_open: true,
            })
            .block(Block::Verbatim(text(), text()));
        let page = to_html(&Report {
            title: text(),
            facts: vec![pair()],
            warnings: vec![text()],
            sections: vec![section],
        });
        assert!(!page.contains("<script") && !page.contains("alert('"), "{page}");
        assert_eq!(page.matches(SAFE).count(), 23);
        assert!(page.contains("data:image/png;base64,AQID\" width=\"2\" height=\"1\""));
        // The page loads nothing from the network.
        assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("src=\"/"));
    }

    #[test]
    fn values_are_apart_from_text() {
        let mut out = String::new();
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let table = |ends_with_text| Table {
            head: row(["", "KID", "meaning"]),
            rows: vec![row(["a", "1", "b"])],
            ends_with_text,
            caption: String::new(),
        };
        push_table(&mut out, &table(true));
        assert!(
            out.contains("<th scope=\"row\">a</th><td>1</td><td class=\"text\">b</td>"),
            "{out}"
        );
        out.clear();
        push_table(&mut out, &table(false));
        assert!(out.contains("<td>b</td>"), "{out}");
    }
}
