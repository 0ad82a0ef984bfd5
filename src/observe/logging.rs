//! Log lines to standard error, for people or for machines. Standard output stays free for data.

use std::io::IsTerminal as _;

use tracing::Subscriber;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::settings::{LogFormat, LogLevel, LogSettings};

/// Logs to standard error from here on, for the whole process.
///
/// # Errors
/// When a logger was installed before.
pub fn init(settings: LogSettings) -> Result<(), SetGlobalDefaultError> {
    let colours = std::io::stderr().is_terminal();
    tracing::subscriber::set_global_default(subscriber(settings, colours, std::io::stderr))
}

/// The subscriber that [`init`] installs, for any writer.
pub fn subscriber<W>(
    settings: LogSettings,
    colours: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(settings.level))
        .with_ansi(colours && settings.format == LogFormat::Human)
        .with_writer(writer);
    match settings.format {
        LogFormat::Human => Box::new(builder.with_target(false).finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

/// Libraries are asked for warnings at most, because their lower levels name connections and
/// frames, which say nothing about money.
fn filter(level: LogLevel) -> EnvFilter {
    let (ours, others) = match level {
        LogLevel::Error => ("error", "error"),
        LogLevel::Warn => ("warn", "warn"),
        LogLevel::Info => ("info", "warn"),
        LogLevel::Debug => ("debug", "warn"),
        LogLevel::Trace => ("trace", "warn"),
    };
    EnvFilter::new(format!("{others},bursar={ours}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: LogLevel) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let settings = LogSettings { format, level };
        let subscriber = subscriber(settings, true, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(topic = "logs", "reading");
            tracing::debug!("why");
            tracing::info!(target: "somebody_else", "frames");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn machines_get_one_object_for_each_line_without_colours() {
        let text = logged(LogFormat::Json, LogLevel::Info);
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "reading");
        assert_eq!(line["topic"], "logs");
    }

    #[test]
    fn levels_hold_for_this_program_and_libraries_only_warn() {
        let text = logged(LogFormat::Human, LogLevel::Debug);
        assert!(text.contains("reading") && text.contains("why"), "{text}");
        assert!(!text.contains("frames"), "{text}");
        assert_eq!(logged(LogFormat::Human, LogLevel::Error), "");
    }
}
