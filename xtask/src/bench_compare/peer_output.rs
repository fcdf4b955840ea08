//! The line of JSON that every program prints, and its validation.

use super::Setting;
use serde_json::Value;

/// Result of one run of one program.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// Median time of a step.
    pub(super) ms: f64,
    /// Largest resident memory, if the program reports it.
    pub(super) peak_mb: Option<f64>,
    pub(super) version: String,
    /// The whole line.
    pub(super) raw: Value,
}

/// Reads the last line of an output that is a JSON object.
pub(super) fn read(stdout: &str, setting: &Setting) -> Result<Line, String> {
    let objects = stdout
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let raw = objects
        .into_iter()
        .find(Value::is_object)
        .ok_or("no line of JSON on stdout")?;
    for (field, asked) in [
        ("mode", Value::from(setting.mode())),
        ("batch", Value::from(setting.batch)),
        ("threads", Value::from(setting.threads)),
    ] {
        let said = &raw[field];
        if *said != asked {
            return Err(format!(
                "its line says {field} {said} where {asked} was asked for"
            ));
        }
    }
    let ms = raw["ms_median"].as_f64().filter(|ms| *ms > 0.0);
    Ok(Line {
        ms: ms.ok_or_else(|| format!("its line says ms_median {}", raw["ms_median"]))?,
        peak_mb: raw["peak_rss_mb"].as_f64(),
        version: raw["version"]
            .as_str()
            .unwrap_or("of unknown version")
            .to_string(),
        raw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting = Setting {
        threads: 2,
        batch: 64,
        infer: false,
    };
    const GOOD: &str =
        r#"{"mode":"train","batch":64,"threads":2,"ms_median":12.5,"peak_rss_mb":80,"version":"1"}"#;

    #[test]
    fn the_last_object_counts() {
        let noisy = format!("loading\n{}\n{GOOD}\n7\ndone\n", GOOD.replace("12.5", "1"));
        let line = read(&noisy, &SETTING).unwrap();
        assert_eq!(
            (line.ms, line.peak_mb, line.version.as_str()),
            (12.5, Some(80.0), "1")
        );
        assert_eq!(line.raw["batch"], 64);
    }

    #[test]
    fn what_a_program_may_leave_out() {
        let short = r#"{"mode":"train","batch":64,"threads":2,"ms_median":3}"#;
        let line = read(short, &SETTING).unwrap();
        assert_eq!(
            (line.ms, line.peak_mb, line.version.as_str()),
            (3.0, None, "of unknown version")
        );
    }

    #[test]
    fn another_experiment_is_no_result() {
        for (from, to, part) in [
            ("\"batch\":64", "\"batch\":32", "batch 32 where 64"),
            ("\"threads\":2", "\"threads\":1", "threads 1 where 2"),
            ("train", "infer", "mode \"infer\" where \"train\""),
            ("\"mode\":\"train\",", "", "mode null"),
            ("12.5", "0", "ms_median 0"),
            ("12.5", "-1.0", "ms_median -1.0"),
            ("12.5", "null", "ms_median null"),
            ("12.5", "NaN", "no line of JSON"),
            ("{", "", "no line of JSON"),
        ] {
            let error = read(&GOOD.replace(from, to), &SETTING).unwrap_err();
            assert!(error.contains(part), "{error:?} lacks {part:?}");
        }
        assert_eq!(read("", &SETTING).unwrap_err(), "no line of JSON on stdout");
    }
}
