//! Hands the command line to the library; nothing else.

fn main() -> std::process::ExitCode {
    scargate::cli::main()
}
