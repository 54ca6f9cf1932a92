//! Variables as commands of a shell.

use crate::args::surroundings::Shell;

/// The command that sets a variable for the shell and what it starts.
pub(crate) fn set(shell: Shell, name: &str, value: &str) -> String {
    let value = quoted(shell, value);
    match shell {
        Shell::Bash => format!("export {name}={value}"),
        Shell::Fish => format!("set -gx {name} {value}"),
        Shell::Powershell => format!("$env:{name} = {value}"),
    }
}

/// As one word that means nothing but itself.
pub(crate) fn quoted(shell: Shell, text: &str) -> String {
    let inside = match shell {
        // POSIX, Shell Command Language §2.2.2: no character is special inside, and none can stand for the quote.
        Shell::Bash => text.replace('\'', r"'\''"),
        // fish, The language, Quotes: a backslash escapes itself and the quote.
        Shell::Fish => text.replace('\\', r"\\").replace('\'', r"\'"),
        // PowerShell, about_Quoting_Rules: a quote is doubled; the language takes typographic ones for the same.
        Shell::Powershell => text.chars().fold(String::new(), |mut inside, c| {
            if matches!(c, '\'' | '\u{2018}'..='\u{201b}') {
                inside.push(c);
            }
            inside.push(c);
            inside
        }),
    };
    format!("'{inside}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_has_its_way_to_write_a_quote_and_a_backslash() {
        let text = r#"it's "a" \ $HOME `b`; ‘c’"#;
        assert_eq!(
            set(Shell::Bash, "A", text),
            r#"export A='it'\''s "a" \ $HOME `b`; ‘c’'"#
        );
        assert_eq!(
            set(Shell::Fish, "A", text),
            r#"set -gx A 'it\'s "a" \\ $HOME `b`; ‘c’'"#
        );
        assert_eq!(
            set(Shell::Powershell, "A", text),
            r#"$env:A = 'it''s "a" \ $HOME `b`; ‘‘c’’'"#
        );
    }

    /// A real one judges.
    #[cfg(unix)]
    #[test]
    fn bash_reads_back_what_was_quoted() {
        for text in [
            "",
            "plain",
            "it's",
            "''",
            "'",
            r"\",
            r"\'",
            r#""$HOME" `id` $(id) ${A} !! ~ * ? [a] {a,b} #a; & | < >"#,
            "two\nlines\ttab",
            " spaces ",
            "ü ‘’ \u{1f600}",
            "-n",
        ] {
            let script = format!("{}; printf %s \"$A\"", set(Shell::Bash, "A", text));
            let ran = std::process::Command::new("bash")
                .args(["-euc", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(ran.stdout).unwrap(), text, "{script}");
        }
    }
}
