//! Starts the agent: everything is in the library.

fn main() -> std::process::ExitCode {
    brokerwarden::cli::main()
}
