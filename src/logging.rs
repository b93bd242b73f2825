//! Messages: to the journal with their fields where stderr is the journal, else to stderr as logfmt or JSON.

mod journal;

use std::sync::Arc;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::SubscriberExt, registry::LookupSpan, reload, util::SubscriberInitExt,
};

use crate::config::{Config, LogFormat, LogLevel};
use journal::Journal;

/// Messages of this process, once they are started.
#[derive(Clone)]
pub struct Logging {
    filter: Arc<reload::Handle<EnvFilter, Registry>>,
}

impl Logging {
    /// Starts logging for the whole process. Called once.
    pub fn start(config: &Config) -> Self {
        let (filter, handle) = reload::Layer::new(filter(config.live.log_level));
        tracing_subscriber::registry()
            .with(layer(config.log_format).with_filter(filter))
            .init();
        Self {
            filter: Arc::new(handle),
        }
    }

    /// Changes the least urgent level that is logged.
    pub fn set_level(&self, level: LogLevel) {
        // It fails only when the subscriber is gone, and messages with it.
        let _ = self.filter.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    let level = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    // Libraries talk about connections and frames; bollard would print whole requests, secrets included.
    EnvFilter::new(format!("warn,dockside={level}"))
}

fn layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let journal = match format {
        LogFormat::Auto => Journal::of_stderr(),
        LogFormat::Logfmt | LogFormat::Json => None,
    };
    match (journal, format) {
        (Some(journal), _) => journal.boxed(),
        (None, LogFormat::Json) => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .with_target(false)
            .with_writer(std::io::stderr)
            .boxed(),
        (None, _) => tracing_logfmt::builder()
            .with_target(false)
            .with_span_name(false)
            .with_span_path(false)
            .layer()
            .with_writer(std::io::stderr)
            .boxed(),
    }
}
