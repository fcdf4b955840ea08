//! `engraft playground`: the generators in the page draw the images of `generate`.

use super::common::{bad, good};
use super::{Place, colored, run};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use engraft::data::{Npy, Numbers, Split, drawn_digits};
use engraft_base::to_byte;
use engraft_playground::{Generator, noise};
use std::path::Path;

/// The content of a script element of a page.
fn part<'a>(page: &'a str, id: &str) -> &'a str {
    let (_, after) = page.split_once(&format!("id=\"{id}\">")).unwrap();
    after.split_once("</script>").unwrap().0
}

/// The largest difference of a byte between the images of seeds in a page and those of `generate`.
fn difference(place: &Place, page: &str, model: usize, run: &str, seeds: &[u64]) -> u8 {
    let bytes = STANDARD.decode(part(page, &format!("model-{model}"))).unwrap();
    let generator = Generator::from_bytes(&bytes).unwrap();
    let (list, out) = (
        seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(","),
        place.at(&format!("{run}-{model}.npy")),
    );
    good(&[
        "generate",
        "--from",
        &place.at(run),
        "--seeds",
        &list,
        "--out",
        &out,
        "--overwrite",
    ]);
    let array = Npy::open(Path::new(&out)).unwrap();
    let Numbers::F32(expected) = array.numbers() else {
        panic!("expected f32")
    };
    let classes = generator.class_count().max(1) as u64;
    let images = seeds.iter().flat_map(|&seed| {
        let z = noise(seed, generator.latent_dim());
        generator
            .generate(&z, (seed % classes) as usize)
            .as_slice()
            .to_vec()
    });
    let images: Vec<f32> = images.collect();
    assert_eq!(images.len(), expected.len());
    let bytes = images.iter().zip(expected);
    bytes
        .map(|(&a, &b)| to_byte(a).abs_diff(to_byte(b)))
        .max()
        .unwrap()
}

#[test]
fn the_page_draws_the_images_of_generate() {
    let place = Place::new();
    let digits = drawn_digits(Split::Train, 40, 1);
    run(place.at("plain").as_ref(), &digits, 0);
    run(place.at("classes").as_ref(), &digits, 10);
    let (from, beside, out) = (place.at("plain"), place.at("classes"), place.at("page.html"));
    let [line, _] = good(&["playground", "--from", &from, "--beside", &beside, "--out", &out]);
    assert!(line.contains("page.html") && line.contains("MB"), "{line}");
    let page = String::from_utf8(place.bytes("page.html")).unwrap();
    for (model, run) in ["plain", "classes"].into_iter().enumerate() {
        let largest = difference(&place, &page, model, run, &[1, 2, 13, 4_294_967_299]);
        assert!(largest <= 1, "{run}: {largest}");
    }
    let data: serde_json::Value = serde_json::from_str(part(&page, "data")).unwrap();
    assert_eq!(
        (&data["title"], &data["latent"]),
        (&"plain and classes".into(), &100.into())
    );
    assert_eq!(data["classes"].as_array().unwrap().len(), 10);
    assert_eq!(data["directions"].as_array().unwrap().len(), 8);
    assert_eq!(data["models"][1]["classes"], 10);
    // Nothing but an existing file keeps the same command from writing the same bytes.
    bad(
        &["playground", "--from", &from, "--out", &out],
        &["page.html", "--overwrite"],
    );
    good(&[
        "playground",
        "--from",
        &from,
        "--beside",
        &beside,
        "--out",
        &out,
        "--overwrite",
    ]);
    assert!(place.bytes("page.html") == page.as_bytes());
}

#[test]
fn what_cannot_be_a_page_is_refused() {
    let place = Place::new();
    run(place.at("run <b>").as_ref(), &colored(40), 0);
    let (from, out) = (place.at("run <b>"), place.at("page.html"));
    good(&["playground", "--from", &from, "--out", &out]);
    let page = String::from_utf8(place.bytes("page.html")).unwrap();
    assert!(page.contains("<title>run &lt;b&gt;") && !page.contains("run <b>"));
    bad(
        &["playground", "--from", &from, "--out", &place.at("a.png")],
        &["a.png", ".html"],
    );
    let other = place.at("other.html");
    bad(
        &["playground", "--from", &from, "--with-source", "--out", &other],
        &["--with-source"],
    );
    bad(
        &["playground", "--from", &place.at("none"), "--out", &other],
        &["none", "--from"],
    );
    bad(
        &[
            "playground",
            "--from",
            &from,
            "--beside",
            &place.at("none"),
            "--out",
            &other,
        ],
        &["none", "--beside"],
    );
    bad(
        &[
            "playground",
            "--from",
            &from,
            "--beside",
            "google-64",
            "--out",
            &other,
        ],
        &["google-64", "latent", "128"],
    );
    assert!(!Path::new(&other).exists());
}
