//! The examples below each command's help; a test types them into a shell.

/// Lines that work as they stand.
macro_rules! examples {
    ($($line:literal),+ $(,)?) => {
        concat!("Examples:\n", $("  ", $line, "\n",)+ "\n'iothub --help' lists the exit codes.")
    };
}

/// Those of a service, which need a hub's connection string.
macro_rules! service_examples {
    ($($line:literal),+ $(,)?) => {
        concat!(
            "Examples, against 'iothub emulator run':\n  eval \"$(iothub emulator env)\"\n",
            $("  ", $line, "\n",)+
            "\n'iothub --help' lists the exit codes."
        )
    };
}

pub(super) use {examples, service_examples};
