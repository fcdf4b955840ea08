//! Names of data sets that are safe in a path and in settings.

/// Most characters of a name.
const LONGEST: usize = 100;

/// A name of letters, digits, dots, dashes and underscores for any text, such as the name of a folder. A text that is such
/// a name already stays unchanged. Other characters become dashes, umlauts two letters.
///
/// ```
/// use engraft_data::plain_name;
/// assert_eq!(plain_name("cats_2"), "cats_2");
/// assert_eq!(plain_name("my photos (2024)"), "my-photos-2024");
/// assert_eq!(plain_name("Öl+"), "Oel");
/// assert_eq!(plain_name(".hidden"), "hidden");
/// assert_eq!(plain_name("写真"), "pictures");
/// ```
pub fn plain_name(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=LONGEST).contains(&text.len()) && !text.starts_with('.') && text.chars().all(is_plain) {
        return text.into();
    }
    let mut name = String::new();
    for c in text.chars() {
        match c {
            'ä' => name += "ae",
            'ö' => name += "oe",
            'ü' => name += "ue",
            'Ä' => name += "Ae",
            'Ö' => name += "Oe",
            'Ü' => name += "Ue",
            'ß' => name += "ss",
            c if is_plain(c) => name.push(c),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    name.truncate(LONGEST);
    match name.trim_end_matches('-').trim_start_matches(['-', '.']) {
        "" => "pictures".into(),
        name => name.into(),
    }
}
