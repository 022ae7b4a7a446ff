//! netmon's own process: what the kernel reports about it, and its memory.

use std::sync::{Mutex, PoisonError};

use procfs::{
    ProcError,
    process::{LimitValue, Process},
};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::{model::health::ProcessHealth, privilege};

/// The process could not be read.
#[derive(Debug, thiserror::Error)]
#[error("netmon's own process could not be read from /proc/self: {0}")]
pub struct ProcessError(#[from] ProcError);

/// Makes all threads share one heap. The C library would create one for each CPU and more, and every scrape runs on a
/// thread of its own. Each of those heaps would grow to the size of a scrape.
#[expect(unsafe_code, reason = "no library has this")]
pub fn share_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number, which the allocator reads when a thread asks for memory for the first time.
    let _set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Returns free memory to the kernel, which the C library would keep for good. Reading the kernel's types while
/// programs are loaded takes some thirty megabytes for a moment, and so does a large page.
#[expect(unsafe_code, reason = "no library has this")]
pub fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it moves nothing that is in use, and takes the allocator's own locks.
    let _given = unsafe { libc::malloc_trim(0) };
}

/// Reads the process from `/proc/self`.
pub fn read() -> Result<ProcessHealth, ProcessError> {
    let process = Process::myself()?;
    let stat = process.stat()?;
    let ticks = procfs::ticks_per_second() as f64;
    let max_fds = match process.limits()?.max_open_files.soft_limit {
        LimitValue::Value(limit) => Some(limit),
        LimitValue::Unlimited => None,
    };
    Ok(ProcessHealth {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
        resident_memory_bytes: stat.rss * procfs::page_size(),
        virtual_memory_bytes: stat.vsize,
        open_fds: process.fd_count()? as u64,
        max_fds,
        start_time_seconds: boot_time() + stat.starttime as f64 / ticks,
        threads: u64::try_from(stat.num_threads).unwrap_or_default(),
        capabilities: privilege::names(privilege::of_all_threads().map_err(ProcError::from)?),
    })
}

/// When the machine was started, in seconds since 1970: what `/proc/stat` shows as `btime`. That file has a line for each
/// processor, and one number for each interrupt.
///
/// The two clocks are not read at the same instant. So the time stays as it is until somebody sets the clock.
fn boot_time() -> f64 {
    static LAST: Mutex<f64> = Mutex::new(0.0);
    let seconds = |clock| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
        tv_sec as f64 + tv_nsec as f64 / 1e9
    };
    let time = seconds(ClockId::Realtime) - seconds(ClockId::Boottime);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if (time - *last).abs() >= 1.0 {
        *last = time;
    }
    *last
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::SystemTime};

    use procfs::{CurrentSI as _, KernelStats};

    use super::{boot_time, read};

    #[test]
    fn the_process_reads_itself() {
        let health = read().expect("the process");
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("a clock past 1970");
        assert!(health.resident_memory_bytes > 0 && health.virtual_memory_bytes >= health.resident_memory_bytes);
        assert!(health.threads >= 1);
        // The kernel gives the boot time in whole seconds.
        assert!(health.start_time_seconds > 0.0 && health.start_time_seconds <= now.as_secs_f64() + 1.0);
        assert!(health.max_fds.is_none_or(|max| health.open_fds <= max));
    }

    #[test]
    fn the_time_of_the_boot_is_that_of_the_kernel_and_stays() {
        let first = boot_time();
        let kernel = KernelStats::current().expect("/proc/stat").btime as f64;
        assert!((first - kernel).abs() < 2.0, "{first}, the kernel: {kernel}");
        for _ in 0..1000 {
            assert_eq!(boot_time().to_bits(), first.to_bits());
        }
    }

    #[test]
    fn an_open_file_is_one_descriptor_more() {
        // Other tests open and close files meanwhile. This many files stand out.
        const FILES: u64 = 200;
        let before = read().expect("the process").open_fds;
        let files: Vec<_> = (0..FILES)
            .map(|_| File::open("/dev/null").expect("/dev/null"))
            .collect();
        let after = read().expect("the process").open_fds;
        drop(files);
        assert!(after + 100 > before + FILES, "{before} descriptors, then {after}");
    }
}
