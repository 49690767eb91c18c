//! Negative controls: victims that do wrong by themselves, one for each thing that a verdict looks at. They run with
//! `--expect-failure` only, and each must be found guilty.
//!
//! They attack nothing. They show that a fall, a hang, a leak, a late answer and a broken canary are seen.

use crate::attack::{Done, Users, attacks};
use crate::process::Process;
use crate::victim::{AT_ONCE, GRACE, Victim};
use monshm::{MemoryKind, Segment};
use std::time::Duration;

attacks! {
    "self-test/falls" (One, CREATOR).by(Users::Same): "the victim dies by SIGSEGV" => falls, nothing;
    "self-test/panics" (One, CREATOR).by(Users::Same): "the victim panics" => panics, nothing;
    "self-test/late" (One, CREATOR).by(Users::Same): "a call comes 200 ms late" => late, nothing;
    "self-test/leaks-fd" (One, CREATOR).by(Users::Same): "a descriptor stays open" => leaks_fd, nothing;
    "self-test/leaks-mapping" (One, CREATOR).by(Users::Same): "a segment stays mapped" => leaks_mapping, nothing;
    "self-test/leaks-name" (One, CREATOR).by(Users::Same): "a name stays in the system" => leaks_name, nothing;
    "self-test/overwritten" (One, CREATOR).by(Users::Same): "bytes before a buffer change" => overwritten, nothing;
    "self-test/idle" (One, CREATOR): "the attacker does nothing" => |_| Ok(()), |_| Ok(());
}

fn nothing(process: &mut Process) -> Done {
    process.acted();
    Ok(())
}

fn falls(_: &mut Victim<'_>) -> Done {
    // SAFETY: none: there is no memory, and that is the point. The process ends here.
    unsafe { std::ptr::without_provenance_mut::<u8>(std::hint::black_box(8)).write_volatile(1) };
    Ok(())
}

fn panics(_: &mut Victim<'_>) -> Done {
    std::panic::panic_any("a panic for the self-test")
}

fn late(victim: &mut Victim<'_>) -> Done {
    let slept = || {
        std::thread::sleep(GRACE + Duration::from_millis(150));
        Ok(())
    };
    // Where expectations are turned round an answer that is expected is a fault, so this one must not be.
    victim.call("sleep", AT_ONCE, &[], slept);
    Ok(())
}

fn leaks_fd(_: &mut Victim<'_>) -> Done {
    std::mem::forget(std::fs::File::open("/dev/null")?);
    Ok(())
}

fn leaks_mapping(victim: &mut Victim<'_>) -> Done {
    std::mem::forget(victim.builder().create()?);
    Ok(())
}

fn leaks_name(_: &mut Victim<'_>) -> Done {
    std::mem::forget(Segment::builder(4096).memory(MemoryKind::Named).create()?);
    Ok(())
}

fn overwritten(victim: &mut Victim<'_>) -> Done {
    let mut buffer = crate::guarded::Guarded::new(64)?;
    // SAFETY: the byte before the buffer belongs to the same private mapping.
    unsafe { buffer.bytes().as_mut_ptr().sub(1).write_volatile(0) };
    victim.check_guards(&buffer);
    Ok(())
}
