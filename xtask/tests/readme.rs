//! Every command and option that the README names exists.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::Command;

/// What is typed before a command of each program.
const PROGRAMS: [&str; 3] = ["cargo xtask ", "cargo engraft ", "engraft "];

/// The help of a command, which names its options; `None` if there is none.
fn help(program: &str, command: &str) -> Option<String> {
    if program == PROGRAMS[0] {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args([command, "--help"])
            .output()
            .unwrap();
        return output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap());
    }
    let text = engraft::cli::run(&[command, "--help"]).unwrap_err().to_string();
    text.contains("Usage:")
        .then_some(text)
        .filter(|text| !text.contains("unrecognized"))
}

/// The fenced blocks of a shell, line by line, and the inline code of a text.
fn code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (i, part) in text.split("```").enumerate() {
        if i % 2 == 0 {
            let inline = part.split('`').skip(1).step_by(2);
            found.extend(inline.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")));
        } else if let Some(lines) = part.strip_prefix("sh\n") {
            found.extend(lines.replace("\\\n", " ").lines().map(Into::into));
        }
    }
    found
}

fn options(words: &str) -> Vec<&str> {
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = words.split(|c: char| !is_in_name(c));
    words
        .filter(|word| word.len() > 2 && word.starts_with("--"))
        .collect()
}

#[test]
fn the_commands_of_the_readme_exist() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let mut helps: BTreeMap<(&str, String), Option<String>> = BTreeMap::new();
    let (mut loose, mut problems) = (Vec::new(), Vec::new());
    for line in code(&text) {
        let line = line.split(" #").next().unwrap_or("");
        let Some(program) = PROGRAMS.into_iter().find(|program| line.starts_with(program)) else {
            if line.starts_with("--") {
                loose.extend(options(line).into_iter().map(String::from));
            }
            continue;
        };
        let command = line[program.len()..].split(' ').next().unwrap_or("");
        if command.starts_with('-') {
            continue;
        }
        let help = helps
            .entry((program, command.into()))
            .or_insert_with(|| help(program, command));
        match help {
            None => problems.push(format!("`{line}`: no command {command}")),
            Some(help) => {
                let unknown = options(line)
                    .into_iter()
                    .filter(|option| !options(help).contains(option));
                problems.extend(unknown.map(|option| format!("`{line}`: {command} has no option {option}")));
            }
        }
    }
    assert!(helps.len() > 2, "only {:?} found", helps.keys());
    // What stands alone must be an option of a command that the text names.
    let known = |option: &str| {
        helps
            .values()
            .flatten()
            .any(|help| options(help).contains(&option))
    };
    problems.extend(
        loose
            .into_iter()
            .filter(|o| !known(o))
            .map(|o| format!("no command has the option {o}")),
    );
    assert!(problems.is_empty(), "README.md:\n{}", problems.join("\n"));
}
