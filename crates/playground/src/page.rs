//! The page: one HTML file with the module, the generators, the controls and their data.

use crate::generator::Generator;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use engraft_base::{html_escaped, sha256_hex};
use serde::Serialize;

/// The WebAssembly module, made from this crate by `cargo xtask wasm`.
pub const MODULE: &[u8] = include_bytes!("../module/engraft_playground.wasm");

const TEMPLATE: &str = include_str!("../page/page.html");
const STYLE: &str = include_str!("../page/page.css");
const SCRIPT: &str = include_str!("../page/page.js");

/// The sources of this crate that are part of the module.
const SOURCES: [&str; 4] = [
    include_str!("encoding.rs"),
    include_str!("exports.rs"),
    include_str!("generator.rs"),
    include_str!("lib.rs"),
];

/// SHA-256 of the sources of this crate that are part of the module. `cargo xtask wasm` records it beside [`MODULE`], and a
/// test compares both.
pub fn sources_hash() -> String {
    sha256_hex(SOURCES.concat().as_bytes())
}

/// A generator on the page.
pub struct Model {
    /// Its name, above its images.
    pub name: String,
    /// A line about it: the run, its step, its data.
    pub about: String,
    /// Height, width and channels of its images.
    pub image: [usize; 3],
    /// Number of classes; 0 if it is unconditional.
    pub classes: usize,
    /// The generator as [`Generator::to_bytes`] writes it.
    pub bytes: Vec<u8>,
}

impl Model {
    /// A generator with its name and a line about it. `is_rounded` as for [`Generator::to_bytes`].
    pub fn new(
        name: impl Into<String>,
        about: impl Into<String>,
        generator: &Generator,
        is_rounded: bool,
    ) -> Self {
        Self {
            name: name.into(),
            about: about.into(),
            image: generator.image(),
            classes: generator.class_count(),
            bytes: generator.to_bytes(is_rounded),
        }
    }
}

/// What is on the page.
pub struct Page {
    /// Title of the page.
    pub title: String,
    /// One generator, or two that are shown side by side. They have latent vectors of the same length, and an equal number of
    /// classes if both are class-conditional.
    pub models: Vec<Model>,
    /// Length of the latent vectors.
    pub latent: usize,
    /// Names of the classes by label; classes without a name are shown as their label.
    pub class_names: Vec<String>,
    /// Directions of the latent space, one slider for each.
    pub directions: Vec<Vec<f32>>,
}

/// What the script reads.
#[derive(Serialize)]
struct Data<'a> {
    title: &'a str,
    latent: usize,
    classes: Vec<String>,
    directions: &'a [Vec<f32>],
    models: Vec<ModelData<'a>>,
}

#[derive(Serialize)]
struct ModelData<'a> {
    name: &'a str,
    about: &'a str,
    height: usize,
    width: usize,
    classes: usize,
}

impl Page {
    /// The page as one HTML file, which loads nothing else. All text is escaped.
    pub fn to_html(&self) -> String {
        let classes = self.models.iter().map(|model| model.classes).max().unwrap_or(0);
        let name = |label: usize| self.class_names.get(label).cloned();
        let data = Data {
            title: &self.title,
            latent: self.latent,
            classes: (0..classes)
                .map(|label| name(label).unwrap_or_else(|| label.to_string()))
                .collect(),
            directions: &self.directions,
            models: self
                .models
                .iter()
                .map(|model| ModelData {
                    name: &model.name,
                    about: &model.about,
                    height: model.image[0],
                    width: model.image[1],
                    classes: model.classes,
                })
                .collect(),
        };
        // Within a script element, only `<` could end it.
        let data = serde_json::to_string(&data)
            .unwrap_or_default()
            .replace('<', "\\u003c");
        let mut weights = String::new();
        for (index, model) in self.models.iter().enumerate() {
            weights += &format!("<script type=\"text/plain\" id=\"model-{index}\">");
            STANDARD.encode_string(&model.bytes, &mut weights);
            weights += "</script>\n";
        }
        let module = STANDARD.encode(MODULE);
        let parts = [
            ("{{title}}", html_escaped(&self.title)),
            ("{{style}}", STYLE.trim().into()),
            ("{{script}}", SCRIPT.trim().into()),
            ("{{data}}", data),
            ("{{module}}", module),
            ("{{models}}", weights.trim_end().into()),
        ];
        filled(TEMPLATE, &parts)
    }
}

/// The template with its places filled. A place in a filled text stays as it is.
fn filled(template: &str, parts: &[(&str, String)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    while let Some(at) = rest.find("{{") {
        let (before, after) = rest.split_at(at);
        page += before;
        rest = match parts.iter().find(|(place, _)| after.starts_with(place)) {
            Some((place, text)) => {
                page += text;
                &after[place.len()..]
            }
            None => {
                page += "{{";
                &after[2..]
            }
        };
    }
    page + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(title: &str, name: &str) -> Page {
        Page {
            title: title.into(),
            models: vec![Model {
                name: name.into(),
                about: "step 1".into(),
                image: [2, 2, 1],
                classes: 2,
                bytes: vec![1, 2, 3],
            }],
            latent: 2,
            class_names: vec!["</script><b>".into()],
            directions: vec![vec![1.0, 0.0]],
        }
    }

    #[test]
    fn names_are_escaped_and_nothing_is_loaded() {
        let html = page("<i>{{data}}", "</script><script>alert(1)").to_html();
        assert!(html.contains("<title>&lt;i&gt;{{data}}"), "the title is text");
        assert!(
            !html.contains("alert(1)</")
                && !html.contains("</script><b>")
                && !html.contains("</script><script>alert")
        );
        assert!(html.contains("\\u003c/script>\\u003cb>"));
        // One element each for the policy, the data, the module, the model and the script.
        assert_eq!(html.matches("<script").count(), 4);
        assert_eq!(html.matches("</script>").count(), 4);
        assert!(html.contains("\"classes\":[\"\\u003c/script>\\u003cb>\",\"1\"]"));
        for loading in [
            "src=\"",
            "href=\"http",
            "@import",
            "url(",
            "fetch(",
            "XMLHttpRequest",
        ] {
            assert!(!html.contains(loading), "{loading}");
        }
    }

    #[test]
    fn places_are_filled_once() {
        let parts = [("{{a}}", "{{b}}".to_string()), ("{{b}}", "x".to_string())];
        assert_eq!(filled("1{{a}}2{{b}}{{c}}3", &parts), "1{{b}}2x{{c}}3");
    }
}
