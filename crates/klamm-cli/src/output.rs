//! Results for people and for programs. Never decides what is printed, only how.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::commands::Outcome;

/// How results are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Output {
    /// How results are printed.
    #[arg(long = "output", short = 'o', value_enum, default_value = "table")]
    pub(crate) form: Form,
}

/// A form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Tables and sentences, for people.
    Table,
    /// JSON, for programs.
    Json,
}

/// Something that can be printed both ways.
pub(crate) trait Printed: Serialize {
    /// For people.
    fn table(&self, out: &mut dyn Write) -> io::Result<()>;
}

impl Output {
    /// Prints a result.
    pub(crate) fn print(self, result: &impl Printed) -> Outcome {
        let mut out = io::stdout().lock();
        match self.form {
            Form::Table => result.table(&mut out)?,
            Form::Json => {
                let text = serde_json::to_string_pretty(result).map_err(|e| e.to_string())?;
                writeln!(out, "{text}")?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

/// Writes rows under their headers, in columns.
pub(crate) fn write_table(
    out: &mut dyn Write,
    headers: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headers.iter().map(|header| header.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    for line in table.to_string().lines() {
        writeln!(out, "{}", line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()))?;
    }
    Ok(())
}

/// Numbers in a list.
pub(crate) fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    texts.join(",")
}

/// A value, or a dash for none.
pub(crate) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Something that was done, in one line.
#[derive(Debug, Serialize)]
pub(crate) struct Done {
    /// What happened.
    pub(crate) done: String,
}

impl Printed for Done {
    fn table(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.done)
    }
}
