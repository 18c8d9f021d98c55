//! The help of a command, made from its table.

use super::Flag;

/// The parts of a help text that the flag table does not hold.
#[derive(Debug, Clone, Copy)]
pub struct Help {
    /// What the command does, line by line.
    pub summary: &'static [&'static str],
    /// Command lines without the leading `litestream`.
    pub usage: &'static [&'static str],
    /// Paragraphs after the flags, line by line.
    pub notes: &'static [&'static str],
    /// Examples: what it does, and the command line.
    pub examples: &'static [(&'static str, &'static str)],
}

impl Help {
    /// The whole text; `config_path` is shown as the default of `-config`.
    pub fn render(&self, flags: &[Flag], config_path: &str) -> String {
        let mut text = String::new();
        for line in self.summary {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("\nUsage:\n");
        for line in self.usage {
            text.extend(["\n\tlitestream ", line, "\n"]);
        }
        if !flags.is_empty() {
            text.push_str("\nArguments:\n");
        }
        for flag in flags {
            text.push_str(format!("\n\t-{} {}", flag.name, flag.value).trim_end());
            text.push('\n');
            for line in flag.doc {
                text.extend(["\t    ", &line.replace("{config}", config_path), "\n"]);
            }
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for line in self.notes {
            text.push_str(line);
            text.push('\n');
        }
        if !self.examples.is_empty() {
            text.push_str("\nExamples:\n");
        }
        for (purpose, line) in self.examples {
            text.extend(["\n\t# ", purpose, "\n\t$ litestream ", line, "\n"]);
        }
        text.push('\n');
        text
    }
}
