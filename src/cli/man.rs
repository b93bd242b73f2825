//! The manual page, in roff: one, with the commands in it.

use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;

/// Writes the page of `command`.
pub(super) fn write(command: Command, out: &mut dyn Write) -> io::Result<()> {
    let commands: Vec<_> = command
        .get_subcommands()
        .filter(|one| !one.is_hide_set())
        .map(|one| one.clone().disable_help_flag(true))
        .collect();
    let page = Man::new(command).section("8").manual("System administration");
    page.render_title(out)?;
    page.render_name_section(out)?;
    out.write_all(b".SH SYNOPSIS\n\\fBdockside\\fR [\\fIOPTIONS\\fR] [\\fICOMMAND\\fR [\\fIOPTIONS\\fR]]\n")?;
    page.render_description_section(out)?;
    out.write_all(b".SH COMMANDS\n")?;
    for one in commands {
        let about = one.get_long_about().or_else(|| one.get_about());
        let about = about.map(ToString::to_string).unwrap_or_default();
        writeln!(out, ".SS {}\n{}", one.get_name(), escaped(&about))?;
        out.write_all(options(&Man::new(one))?.as_bytes())?;
    }
    writeln!(out, ".SH OPTIONS")?;
    out.write_all(options(&page)?.as_bytes())?;
    out.write_all(MORE.as_bytes())
}

/// The options, below the section's heading: those of the groups are one level further down.
fn options(page: &Man) -> io::Result<String> {
    let mut text = Vec::new();
    page.render_options_section(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().filter_map(|line| match line.strip_prefix(".SH ") {
        Some("OPTIONS") => None,
        Some(heading) => Some(format!(".SS {heading}\n")),
        // What each section begins with is said once, by the title.
        None if line.starts_with(".ie") || line.starts_with(".el") => None,
        // An empty line is a paragraph of its own.
        None if line.is_empty() => None,
        None => Some(format!("{line}\n")),
    });
    Ok(lines.collect())
}

/// Paragraphs of plain text.
fn escaped(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\*(Aq");
    text.replace("\n\n", "\n.PP\n")
}

/// What the page says beside commands and options.
const MORE: &str = r#".SH CONFIGURATION
Each option is a key of the configuration file, in TOML, and an environment variable: \fB\-\-log\-level\fR is
\fBlog\-level\fR there and \fBDOCKSIDE_LOG_LEVEL\fR here. A flag overrides the environment, that overrides files, and
these override defaults; of files a drop\-in overrides the main one. An option that may be repeated is a list in the
file, and has commas in the environment.
.SH SIGNALS
.TP
SIGHUP
Configuration is read again. What can only be changed by a restart is named in a message.
.TP
SIGTERM, SIGINT
No call is accepted any more, calls under way are finished, and the process ends. Pods run on.
.SH EXIT STATUS
.TP
0
A command did what it was to do; \fBdoctor\fR found nothing that is amiss. The server was told to end.
.TP
1
\fBdoctor\fR found what deserves a warning. The server could not start, or could not go on; the last message says why.
.TP
2
\fBdoctor\fR found what keeps pods from running. The command line, the environment or a configuration file has a fault,
which is told with its place.
.SH ENVIRONMENT
.TP
\fBDOCKSIDE_CONFIG\fR
The configuration file, as \fB\-\-config\fR.
.TP
\fBDOCKSIDE_\fR\fIOPTION\fR
Any option, in capitals and with underscores.
.TP
\fBDOCKER_CONFIG\fR, \fBHOME\fR
Where the docker client's \fIconfig.json\fR is, with credentials.
.TP
\fBPATH\fR
CNI plugins get it.
.TP
\fBOTEL_SERVICE_NAME\fR, \fBOTEL_RESOURCE_ATTRIBUTES\fR, \fBOTEL_BSP_*\fR, \fBOTEL_EXPORTER_OTLP_HEADERS\fR, \fBOTEL_EXPORTER_OTLP_TIMEOUT\fR
As OpenTelemetry has them, where \fB\-\-tracing\-endpoint\fR is given.
.TP
\fBLISTEN_FDS\fR, \fBNOTIFY_SOCKET\fR, \fBWATCHDOG_USEC\fR, \fBJOURNAL_STREAM\fR
systemd sets these: sockets to serve at, whom to tell, and where messages go.
.SH FILES
.TP
\fI/etc/dockside/config.toml\fR
The configuration.
.TP
\fI/etc/dockside/config.d/*.toml\fR
Drop\-ins, read in the order of their names.
.TP
\fI/etc/default/dockside\fR
The service's environment, if it is there.
.TP
\fI/run/cri\-dockerd.sock\fR
Where CRI is served.
.TP
\fI/var/lib/dockside\fR
dockside's own files. What there is to know of pods is kept by the Engine.
.TP
\fI/var/lib/kubelet/config.json\fR, \fI/root/.docker/config.json\fR
Credentials for the registry of the image that holds a pod's namespaces.
.TP
\fI/run/netns/dockside\-*\fR
The network namespaces of pods, until their networks are taken down.
.TP
\fI/var/lib/cni/cache\fR
What CNI plugins did for pods, in libcni's format: a network is taken down by it.
.TP
\fI/etc/cni/net.d\fR, \fI/opt/cni/bin\fR, \fI/usr/lib/cni\fR
CNI's configurations and plugins.
.SH SEE ALSO
\fBcrictl\fR(1), \fBkubelet\fR(1), \fBdockerd\fR(8), \fBsystemd.socket\fR(5),
\fI/usr/share/doc/dockside/README.md\fR, \fI/usr/share/doc/dockside/switch.md\fR
"#;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn page() -> String {
        let mut text = Vec::new();
        write(Cli::command(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn one_page_has_every_command_and_every_option() {
        let page = page();
        let plain = page.replace("\\-", "-");
        for command in Cli::command().get_subcommands() {
            let elsewhere = format!("dockside-{}", command.get_name());
            assert!(
                !plain.contains(&elsewhere),
                "{elsewhere} is a page that does not exist"
            );
            let section = format!(".SS {}\n", command.get_name());
            assert_eq!(page.contains(&section), !command.is_hide_set(), "{section}");
        }
        for flag in [
            "--json",
            "--check",
            "--template",
            "--root",
            "--config",
            "--log-level",
            "--store",
        ] {
            assert!(plain.contains(&format!("\\fB{flag}\\fR")), "{flag}: {page}");
        }
    }

    #[test]
    fn no_section_comes_twice() {
        let page = page();
        let headings = page
            .lines()
            .filter(|line| line.starts_with(".SH ") || line.starts_with(".SS "));
        let mut seen = HashSet::new();
        for heading in headings {
            assert!(seen.insert(heading), "{heading}");
        }
        for heading in [
            "COMMANDS",
            "OPTIONS",
            "EXIT STATUS",
            "ENVIRONMENT",
            "FILES",
            "SEE ALSO",
        ] {
            assert!(seen.contains(format!(".SH {heading}").as_str()), "{heading}");
        }
    }
}
