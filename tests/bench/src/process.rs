//! What the system says of this process.

use std::error::Error;
use std::fs;
use std::io;
use std::time::Duration;

/// The CPU time of all threads that there are (`sum_exec_runtime` of each, in nanoseconds).
pub(crate) fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let schedule = fs::read_to_string(thread?.path().join("schedstat"))?;
        let spent = schedule.split_whitespace().next().unwrap_or_default();
        nanoseconds += spent.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The memory that is resident, in KiB.
pub(crate) fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.split_whitespace().next())
        .ok_or("the system does not say how much memory is resident")?;
    Ok(resident.parse()?)
}

/// Waits for the next line of standard input, or its end.
pub(crate) fn next_line() -> io::Result<()> {
    io::stdin().read_line(&mut String::new()).map(drop)
}
