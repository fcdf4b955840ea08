//! Reads fields, variants and their doc comments from source text that `rustfmt` has formatted.

/// A struct or an enum.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// The first paragraph of its doc comment.
    pub(super) docs: String,
    /// Its fields or variants.
    pub(super) fields: Vec<Field>,
}

/// A field of a struct, or a variant of an enum.
#[derive(Debug, Default)]
pub(super) struct Field {
    /// Its name in a file.
    pub(super) key: String,
    /// A name of an earlier version.
    pub(super) alias: Option<String>,
    /// Its type without `Option`; what a variant holds.
    pub(super) kind: String,
    /// Whether its type is an `Option`.
    pub(super) is_optional: bool,
    /// Its doc comment up to the first example; of a variant, the first paragraph.
    pub(super) docs: String,
}

/// The public fields of a struct; `None` if there is no such struct.
pub(super) fn struct_fields(source: &str, name: &str) -> Option<Item> {
    let (docs, body) = item(source, &format!("pub struct {name} {{"))?;
    let fields = entries(body).into_iter().filter_map(|(docs, attributes, line)| {
        let (field, kind) = line.strip_prefix("pub ")?.split_once(':')?;
        let kind = kind.trim().trim_end_matches(',');
        let inner = kind
            .strip_prefix("Option<")
            .and_then(|rest| rest.strip_suffix('>'));
        let kind = inner.unwrap_or(kind);
        Some(Field {
            key: quoted(&attributes, "rename = ").unwrap_or_else(|| field.into()),
            alias: quoted(&attributes, "alias = "),
            kind: kind.rsplit("::").next().unwrap_or(kind).into(),
            is_optional: inner.is_some(),
            docs,
        })
    });
    Some(Item {
        docs,
        fields: fields.collect(),
    })
}

/// The variants of an enum whose names are written in kebab case; `None` if there is no such enum.
pub(super) fn enum_variants(source: &str, name: &str) -> Option<Item> {
    let (docs, body) = item(source, &format!("pub enum {name} {{"))?;
    let fields = entries(body).into_iter().map(|(docs, _, line)| {
        let name: String = line.chars().take_while(|c| c.is_alphanumeric()).collect();
        let held = line[name.len()..].trim_end_matches(',').trim();
        Field {
            key: kebab(&name),
            alias: None,
            kind: held.trim_matches(['(', ')']).into(),
            is_optional: false,
            docs: first_paragraph(&docs),
        }
    });
    Some(Item {
        docs,
        fields: fields.collect(),
    })
}

/// The doc comment and the lines between the braces of an item.
fn item<'s>(source: &'s str, head: &str) -> Option<(String, Vec<&'s str>)> {
    let lines: Vec<&str> = source.lines().collect();
    let at = lines.iter().position(|line| *line == head)?;
    let before = lines[..at].iter().rev();
    let mut docs: Vec<&str> = before
        .take_while(|line| line.starts_with("///") || line.starts_with("#["))
        .filter(|line| line.starts_with("///"))
        .copied()
        .collect();
    docs.reverse();
    let body = lines[at + 1..].iter().take_while(|line| **line != "}");
    Some((first_paragraph(&plain(&docs)), body.copied().collect()))
}

fn first_paragraph(docs: &str) -> String {
    docs.split("\n\n").next().unwrap_or_default().into()
}

/// Doc comment, attributes and first line of every field or variant.
fn entries(body: Vec<&str>) -> Vec<(String, String, String)> {
    let (mut found, mut docs, mut attributes) = (Vec::new(), Vec::new(), String::new());
    let mut in_attribute = false;
    for line in body {
        // Deeper lines belong to an attribute, or to what a variant holds.
        let text = line.trim();
        if in_attribute || text.starts_with("#[") {
            attributes += text;
            in_attribute = !text.ends_with(']');
        } else if !line.starts_with("    ") || line.starts_with("     ") || text == "}," {
        } else if text.starts_with("///") {
            docs.push(text);
        } else if !text.starts_with("//") {
            found.push((plain(&docs), std::mem::take(&mut attributes), text.to_owned()));
            docs.clear();
        }
    }
    found
}

/// The string behind `name` in attributes.
fn quoted(attributes: &str, name: &str) -> Option<String> {
    let (_, rest) = attributes.split_once(name)?;
    Some(rest.split('"').nth(1)?.into())
}

fn kebab(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(c.to_lowercase());
    }
    text
}

/// A doc comment as Markdown without links, up to the first example; paragraphs are separated by an empty line.
fn plain(docs: &[&str]) -> String {
    let lines = docs.iter().map(|line| line.trim_start_matches("///").trim());
    let text: Vec<&str> = lines.take_while(|line| !line.starts_with("```")).collect();
    let text = text.join("\n");
    let paragraphs = text
        .trim()
        .split("\n\n")
        .map(|paragraph| paragraph.replace('\n', " "));
    let paragraphs: Vec<String> = paragraphs.collect();
    // The sentence before an example, which is left out, ends with a colon.
    without_links(&paragraphs.join("\n\n"))
        .trim_end_matches(':')
        .to_owned()
}

/// `[text](target)` and `[text]` as `text`; brackets in code stay.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let in_code = rest[..at].matches('`').count() % 2 == 1;
        let (before, behind) = rest.split_at(at);
        plain += before;
        let end = behind.find(']').filter(|_| !in_code);
        let Some(end) = end else {
            plain.push('[');
            // The state of the code span must not be lost.
            rest = &behind[1..];
            if in_code && let Some(close) = rest.find('`') {
                plain += &rest[..=close];
                rest = &rest[close + 1..];
            }
            continue;
        };
        plain += &behind[1..end];
        rest = &behind[end + 1..];
        if rest.starts_with('(')
            && let Some(close) = rest.find(')')
        {
            rest = &rest[close + 1..];
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
/// Settings.
///
/// In a file:
///
/// ```toml
/// [a]
/// ```
#[derive(Debug)]
pub struct Settings {
    /// A [link](crate::Link) and `[0, 1)`, see [`Other`].
    ///
    /// More.
    #[serde(
        rename = "first",
        alias = "earlier"
    )]
    pub one: Option<f64>,
    pub(crate) hidden: u32,
    /// A list.
    pub other: Vec<String>,
}

/// Choices.
pub enum Choice {
    /// One.
    ///
    /// *Source*: x.
    #[default]
    TheFirst,
    /// Two.
    Second(f64),
    /// Three.
    Third {
        /// Inner.
        rank: usize,
    },
}
"#;

    #[test]
    fn fields_and_variants_are_read() {
        let found = struct_fields(SOURCE, "Settings").unwrap();
        assert_eq!(found.docs, "Settings.");
        let [one, other] = &found.fields[..] else {
            panic!("{found:?}")
        };
        assert_eq!(
            (one.key.as_str(), one.alias.as_deref()),
            ("first", Some("earlier"))
        );
        assert_eq!(one.docs, "A link and `[0, 1)`, see `Other`.\n\nMore.");
        assert_eq!((one.kind.as_str(), other.kind.as_str()), ("f64", "Vec<String>"));
        let found = enum_variants(SOURCE, "Choice").unwrap();
        let keys: Vec<&str> = found.fields.iter().map(|field| field.key.as_str()).collect();
        assert_eq!(keys, ["the-first", "second", "third"]);
        assert_eq!(
            (found.fields[0].docs.as_str(), found.fields[1].kind.as_str()),
            ("One.", "f64")
        );
        assert!(struct_fields(SOURCE, "Choice").is_none());
    }
}
