//! The sources of a workspace, read as text: lines of code, dependencies between files, places of inherent `impl`s.
//!
//! Comments, the content of strings and items with `#[cfg(test)]` are removed first. Paths are resolved through
//! modules and `use`; macros are not expanded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub(super) struct File {
    /// Path from the root of the workspace.
    pub(super) path: PathBuf,
    /// Folder name of its crate.
    pub(super) package: String,
    /// Module path from the crate's root; empty for a root.
    module: Vec<String>,
    /// Its code without comments and tests.
    code: String,
    /// Whether the whole file is a test.
    pub(super) is_test: bool,
    /// Lines of code outside tests.
    pub(super) code_lines: usize,
    /// Lines of test code.
    pub(super) test_lines: usize,
    /// Lines with comments or documentation only.
    pub(super) comment_lines: usize,
}

/// All sources of a workspace.
pub(super) struct Sources {
    /// Every file, by path.
    pub(super) files: Vec<File>,
    /// The imports of each file: name, path from the crate's root, and whether it is re-exported by `pub`.
    imports: Vec<Vec<Import>>,
}

struct Import {
    name: String,
    path: Vec<String>,
    is_public: bool,
}

impl Sources {
    /// Reads the crates below `root`: `crates/*`, `xtask`, `tests`, `benches` and `examples`.
    pub(super) fn read(root: &Path) -> Self {
        let mut packages: Vec<PathBuf> = fs::read_dir(root.join("crates"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        packages.extend(["xtask", "tests", "benches", "examples"].map(|name| root.join(name)));
        packages.sort();
        let mut files = Vec::new();
        for package in packages.into_iter().filter(|p| p.is_dir()) {
            let name = package.file_name().unwrap().to_string_lossy().into_owned();
            let mut modules = BTreeMap::new();
            for entry in ["src/lib.rs", "src/main.rs"] {
                walk(&package.join(entry), Vec::new(), false, &mut modules);
            }
            let mut paths = Vec::new();
            all_sources(&package, &mut paths);
            for path in paths {
                let (module, is_test) = modules.get(&path).cloned().unwrap_or((Vec::new(), true));
                let text = fs::read_to_string(&path).unwrap();
                let clean = without_comments(&text);
                let (code, _) = if is_test {
                    (String::new(), Vec::new())
                } else {
                    without_tests(&clean)
                };
                let count = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
                files.push(File {
                    path: path.strip_prefix(root).unwrap().into(),
                    package: name.clone(),
                    module,
                    is_test,
                    code_lines: count(&code),
                    test_lines: count(&clean) - count(&code),
                    comment_lines: count(&text) - count(&clean),
                    code,
                });
            }
        }
        let mut sources = Self {
            files,
            imports: Vec::new(),
        };
        sources.imports = sources
            .files
            .iter()
            .map(|file| sources.imports_of(file))
            .collect();
        sources
    }

    /// Groups of files that use each other, directly or indirectly. A file may use those of its parent folder
    /// (`super::`), which count as the same unit.
    pub(super) fn circles(&self) -> Vec<Vec<&File>> {
        let uses: Vec<BTreeSet<usize>> = (0..self.files.len()).map(|i| self.used_by(i)).collect();
        let reach: Vec<BTreeSet<usize>> = (0..uses.len()).map(|i| reachable(&uses, i)).collect();
        let mut circles: Vec<Vec<&File>> = Vec::new();
        for i in 0..uses.len() {
            let circle: Vec<usize> = reach[i]
                .iter()
                .copied()
                .filter(|&j| reach[j].contains(&i))
                .collect();
            // Reported once, by its first file.
            if circle.len() > 1 && circle[0] == i {
                circles.push(circle.iter().map(|&j| &self.files[j]).collect());
            }
        }
        circles
    }

    /// The uses between the files of a cycle.
    pub(super) fn arrows(&self, circle: &[&File]) -> Vec<(PathBuf, PathBuf)> {
        let inside = |i: &usize| circle.iter().any(|file| file.path == self.files[*i].path);
        let from = (0..self.files.len()).filter(inside);
        from.flat_map(|i| {
            let to = self.used_by(i).into_iter().filter(inside);
            to.map(move |j| (self.files[i].path.clone(), self.files[j].path.clone()))
                .collect::<Vec<_>>()
        })
        .collect()
    }

    /// Inherent `impl`s in another file than their type.
    pub(super) fn impls_apart(&self) -> Vec<(&Path, String)> {
        let mut found = Vec::new();
        for file in &self.files {
            for header in file.code.split("\nimpl").skip(1) {
                let Some(name) = inherent(header.split('{').next().unwrap_or("")) else {
                    continue;
                };
                if !defines(&file.code, &name) && !found.contains(&(file.path.as_path(), name.clone())) {
                    found.push((file.path.as_path(), name));
                }
            }
        }
        found
    }

    fn file_of(&self, package: &str, module: &[String]) -> Option<usize> {
        self.files
            .iter()
            .position(|f| !f.is_test && f.package == package && f.module == module)
    }

    fn imports_of(&self, file: &File) -> Vec<Import> {
        let mut imports = Vec::new();
        for (at, _) in file.code.match_indices("use ") {
            let before = file.code[..at].trim_end_matches(' ');
            let starts = before.ends_with(['\n', ';', '{', '}']) || before.is_empty();
            let is_public = before.ends_with("pub") || before.ends_with(')');
            if !starts && !is_public {
                continue;
            }
            let tree = file.code[at + 4..].split(';').next().unwrap_or("");
            let mut paths = Vec::new();
            expand(
                &tree.split_whitespace().collect::<Vec<_>>().join(" "),
                "",
                &mut paths,
            );
            for path in paths {
                let (path, alias) = path
                    .split_once(" as ")
                    .map_or((path.as_str(), None), |(p, a)| (p, Some(a)));
                let Some(path) = self.absolute(file, path) else {
                    continue;
                };
                let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), Into::into);
                imports.push(Import {
                    name,
                    path,
                    is_public,
                });
            }
        }
        imports
    }

    /// A path from the crate's root, if it is within the crate.
    fn absolute(&self, file: &File, path: &str) -> Option<Vec<String>> {
        let mut module = file.module.clone();
        let mut parts = path
            .split("::")
            .map(str::trim)
            .filter(|p| *p != "self")
            .peekable();
        match *parts.peek()? {
            "crate" => {
                module.clear();
                parts.next();
            }
            "super" => {
                while parts.next_if_eq(&"super").is_some() {
                    module.pop();
                }
            }
            first => {
                module.push(first.into());
                if path.starts_with("self::") {
                    module.pop();
                } else {
                    self.file_of(&file.package, &module)?;
                    module.pop();
                }
            }
        }
        module.extend(parts.map(Into::into));
        Some(module)
    }

    /// The file that a path refers to, through re-exports.
    fn resolve(&self, package: &str, path: &[String], depth: usize) -> Option<usize> {
        let length = (0..=path.len())
            .rev()
            .find(|&n| self.file_of(package, &path[..n]).is_some())?;
        let file = self.file_of(package, &path[..length])?;
        let Some(name) = path.get(length).filter(|_| depth < 8) else {
            return Some(file);
        };
        let passed_on = self.imports.get(file).into_iter().flatten().find_map(|import| {
            if import.name == *name && import.path != path[..=length] {
                return self.resolve(package, &import.path, depth + 1);
            }
            let from = (import.name == "*").then(|| import.path[..import.path.len() - 1].to_vec())?;
            let target = [from, vec![name.clone()]].concat();
            let found = self.resolve(package, &target, depth + 1)?;
            defines(&self.files[found].code, name).then_some(found)
        });
        passed_on.or(Some(file))
    }

    fn used_by(&self, i: usize) -> BTreeSet<usize> {
        let file = &self.files[i];
        let mut used = BTreeSet::new();
        let mut add = |path: &[String]| used.extend(self.resolve(&file.package, path, 0));
        for import in &self.imports[i] {
            // A re-export is not a use.
            let is_used = || words(&file.code).filter(|w| *w == import.name).count() > 1;
            if !import.is_public || is_used() {
                add(&import.path);
            }
        }
        for path in paths(&file.code) {
            if let Some(path) = self.absolute(file, path) {
                add(&path);
            }
        }
        used.retain(|&j| !file.module.starts_with(&self.files[j].module));
        used
    }
}

/// The files of a crate, with their module paths and whether they are tests.
fn walk(path: &Path, module: Vec<String>, is_test: bool, found: &mut BTreeMap<PathBuf, (Vec<String>, bool)>) {
    let Ok(text) = fs::read_to_string(path) else {
        return;
    };
    let clean = without_comments(&text);
    let (code, tests) = without_tests(&clean);
    let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
    let folder = match stem.as_str() {
        "lib" | "main" | "mod" => path.parent().unwrap().to_path_buf(),
        _ => path.with_extension(""),
    };
    for (text, is_test) in [(code, is_test), (tests.join("\n"), true)] {
        for line in text.lines() {
            let Some(name) = line
                .trim()
                .strip_suffix(';')
                .and_then(|l| l.split_once("mod "))
                .map(|(_, n)| n)
            else {
                continue;
            };
            let inner = [module.clone(), vec![name.into()]].concat();
            for child in [
                folder.join(format!("{name}.rs")),
                folder.join(name).join("mod.rs"),
            ] {
                walk(&child, inner.clone(), is_test, found);
            }
        }
    }
    found.insert(path.into(), (module, is_test));
}

fn all_sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "runs" && !name.starts_with('.') {
            all_sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The text without comments, with the content of strings and characters replaced by `_`.
fn without_comments(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let starts = |i: usize, with: &str| chars[i..].iter().take(with.len()).copied().eq(with.chars());
    while i < chars.len() {
        let end = if starts(i, "//") {
            i + chars[i..].iter().take_while(|c| **c != '\n').count()
        } else if starts(i, "/*") {
            let mut depth = 0;
            let mut j = i;
            while j < chars.len() {
                depth += usize::from(starts(j, "/*"));
                depth -= usize::from(starts(j, "*/"));
                j += 1;
                if depth == 0 {
                    break;
                }
            }
            j + 1
        } else {
            i
        };
        if end > i {
            out.extend(chars[i..end.min(chars.len())].iter().filter(|c| **c == '\n'));
            i = end;
            continue;
        }
        let before = i.checked_sub(1).map(|b| chars[b]);
        let hashes = chars[i + 1..].iter().take_while(|c| **c == '#').count();
        let is_raw = chars[i] == 'r'
            && before.is_none_or(|c| c == 'b' || !(c.is_alphanumeric() || c == '_'))
            && chars.get(i + 1 + hashes) == Some(&'"');
        let end = if is_raw {
            let close: String = ["\"", &"#".repeat(hashes)].concat();
            let from = i + 2 + hashes;
            (from..chars.len())
                .find(|&j| starts(j, &close))
                .map_or(chars.len(), |j| j + close.len())
        } else if chars[i] == '"' || (chars[i] == '\'' && is_character(&chars[i..])) {
            let mut j = i + 1;
            while j < chars.len() && chars[j] != chars[i] {
                j += 1 + usize::from(chars[j] == '\\');
            }
            j + 1
        } else {
            out.push(chars[i]);
            i += 1;
            continue;
        };
        let inside = chars[i..end.min(chars.len())].iter();
        out.extend(inside.map(|&c| if c == '\n' { '\n' } else { '_' }));
        i = end;
    }
    out
}

/// Whether a quote starts a character and not a lifetime.
fn is_character(chars: &[char]) -> bool {
    chars.get(1) == Some(&'\\') || chars.get(2) == Some(&'\'')
}

/// The code without the items with `#[cfg(test)]`, and those items.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let (mut kept, mut tests) = (String::new(), Vec::new());
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]").or_else(|| rest.find("#[cfg(all(test")) {
        kept.push_str(&rest[..at]);
        let mut depth = 0_i32;
        let end = rest[at..].char_indices().find(|(_, c)| {
            depth += i32::from("{([".contains(*c)) - i32::from("})]".contains(*c));
            depth == 0 && (*c == ';' || *c == '}')
        });
        let end = end.map_or(rest.len(), |(i, _)| at + i + 1);
        tests.push(rest[at..end].replace("#[cfg(test)]", "").trim().to_string());
        rest = &rest[end..];
    }
    kept.push_str(rest);
    (kept, tests)
}

/// The paths of a `use` tree.
fn expand(tree: &str, prefix: &str, found: &mut Vec<String>) {
    let mut depth = 0;
    let parts = tree.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0 && c == ','
    });
    for part in parts.map(str::trim).filter(|p| !p.is_empty()) {
        match part.split_once('{') {
            Some((head, inner)) => {
                let inner = inner.trim().strip_suffix('}').unwrap_or(inner);
                expand(inner, &format!("{prefix}{head}"), found);
            }
            None => found.push(format!("{prefix}{part}")),
        }
    }
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|w| !w.is_empty())
}

/// The paths in code, as `crate::a::b`.
fn paths(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .map(|path| path.trim_matches(':'))
        .filter(|path| path.contains("::"))
}

fn defines(code: &str, name: &str) -> bool {
    let kinds = [
        "struct",
        "enum",
        "union",
        "trait",
        "fn",
        "type",
        "const",
        "static",
        "mod",
        "macro_rules",
    ];
    let mut before = "";
    words(code).any(|word| {
        let is_definition = word == name && kinds.contains(&before);
        before = word;
        is_definition
    })
}

/// The type of an inherent `impl`, from the text between `impl` and `{`.
fn inherent(header: &str) -> Option<String> {
    let mut depth = 0_i32;
    let mut last = ' ';
    let flat: String = header
        .chars()
        .filter(|&c| {
            let is_arrow = last == '-' && c == '>';
            last = c;
            depth += i32::from(c == '<');
            let keep = depth == 0;
            depth -= i32::from(c == '>' && !is_arrow);
            keep
        })
        .collect();
    let flat = flat
        .split(" where")
        .next()?
        .split_whitespace()
        .collect::<Vec<_>>();
    if flat.contains(&"for") {
        return None;
    }
    let name = flat.iter().find(|w| **w != "dyn")?.rsplit("::").next()?;
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_name.then(|| name.to_string()).filter(|n| !n.is_empty())
}

fn reachable(uses: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        open.extend(uses[next].iter().filter(|&&j| seen.insert(j)));
    }
    seen
}
