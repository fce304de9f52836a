//! What the command line says of itself, for shells and for `man`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::print;
use crate::cli::Cli;
use crate::failure::Failure;

pub(super) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let cli = Cli::command();
    // What is hidden is offered by some shells all the same.
    let visible = cli.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let mut cli = clap::Command::new("freshdb").version(env!("CARGO_PKG_VERSION")).subcommands(visible);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli, "freshdb", &mut script);
    print(&script)
}

/// One page, with a section for each command.
pub(super) fn manual() -> Result<ExitCode, Failure> {
    let mut cli = Cli::command();
    cli.build();
    let failed = |error| Failure::new("cannot write the manual page").because(error);
    let mut page = Vec::new();
    // Not as a whole, for that names a page for each command, which there is none of.
    let whole = Man::new(cli.clone());
    whole.render_title(&mut page).map_err(failed)?;
    whole.render_name_section(&mut page).map_err(failed)?;
    whole.render_synopsis_section(&mut page).map_err(failed)?;
    whole.render_description_section(&mut page).map_err(failed)?;
    whole.render_options_section(&mut page).map_err(failed)?;
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help") {
        writeln!(page, ".SH {}", command.get_name().to_uppercase()).map_err(failed)?;
        let man = Man::new(command.clone());
        man.render_synopsis_section(&mut page).map_err(failed)?;
        man.render_description_section(&mut page).map_err(failed)?;
        man.render_options_section(&mut page).map_err(failed)?;
    }
    whole.render_version_section(&mut page).map_err(failed)?;
    print(&page)
}
