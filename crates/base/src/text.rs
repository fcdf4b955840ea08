//! Text that is safe to print on a terminal or to put into a page.

/// `text` with every character escaped that moves a terminal's cursor or changes the direction of writing.
///
/// ```
/// assert_eq!(engraft_base::escaped("a\u{1b}[31mb"), "a\\u{1b}[31mb");
/// ```
pub fn escaped(text: &str) -> String {
    escaped_except(text, |_| false)
}

/// [`escaped`] for text of several lines: line breaks and tabs stay.
pub fn escaped_lines(text: &str) -> String {
    escaped_except(text, |c| matches!(c, '\n' | '\t'))
}

/// `text` with the characters escaped that mean something in HTML, for use between tags and in quoted attributes.
///
/// ```
/// assert_eq!(engraft_base::html_escaped("<b title='a'>&"), "&lt;b title=&#39;a&#39;&gt;&amp;");
/// ```
pub fn html_escaped(text: &str) -> String {
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

fn escaped_except(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let is_direction =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && !is_kept(c)) || is_direction {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_directions_are_escaped() {
        assert_eq!(escaped("a\u{1b}[2J\n\u{202e}ö"), "a\\u{1b}[2J\\n\\u{202e}ö");
        assert_eq!(escaped_lines("a\n\tb\r"), "a\n\tb\\r");
    }
}
