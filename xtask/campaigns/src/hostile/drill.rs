//! Victims that do wrong by themselves, one for each thing that a verdict looks at. Run with `--contrary` only: each must
//! be found guilty.
//!
//! They attack nothing; they show that a fall, a hang, a leak, a late answer and a broken canary are seen.

use super::attack::{Attack, CREATOR, Cells, Played, Users};
use super::stage::Stage;
use super::victim::{AT_ONCE, GRACE, Victim};
use monshm::Segment;
use std::time::Duration;

const fn drill(name: &'static str, deed: &'static str, victim: fn(&mut Victim<'_>) -> Played) -> Attack {
    Attack::new(name, deed, victim, nothing).on(Cells::One).from(CREATOR).by(Users::Same)
}

pub(super) const ATTACKS: &[Attack] = &[
    drill("drill/falls", "the victim dies by SIGSEGV", falls),
    drill("drill/panics", "the victim panics", panics),
    drill("drill/late", "a call comes 200 ms late", late),
    drill("drill/leaks-fd", "a descriptor stays open", leaks_fd),
    drill("drill/leaks-mapping", "a segment stays mapped", leaks_mapping),
    drill("drill/leaks-name", "a name stays in the system", leaks_name),
    drill("drill/overwritten", "bytes before a buffer change", overwritten),
    Attack::new("drill/idle", "the attacker does nothing", idle, idler).on(Cells::One).from(CREATOR),
];

fn nothing(stage: &mut Stage) -> Played {
    stage.did("nothing");
    Ok(())
}

fn idler(_: &mut Stage) -> Played {
    Ok(())
}

fn idle(_: &mut Victim<'_>) -> Played {
    Ok(())
}

fn falls(_: &mut Victim<'_>) -> Played {
    // SAFETY: none: there is no memory, and that is the point. The process ends here.
    unsafe { std::ptr::without_provenance_mut::<u8>(std::hint::black_box(8)).write_volatile(1) };
    Ok(())
}

fn panics(_: &mut Victim<'_>) -> Played {
    std::panic::panic_any("a panic for the drill")
}

fn late(victim: &mut Victim<'_>) -> Played {
    let slept = || {
        std::thread::sleep(GRACE + Duration::from_millis(150));
        Ok(())
    };
    // In contrary runs an answer that is expected is a fault; so this one must not be.
    victim.ask("sleep", AT_ONCE, &[], slept);
    Ok(())
}

fn leaks_fd(_: &mut Victim<'_>) -> Played {
    std::mem::forget(std::fs::File::open("/dev/null")?);
    Ok(())
}

fn leaks_mapping(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.builder().create()?;
    let fd_count_stays = segment.encode().is_ok();
    std::mem::forget((segment, fd_count_stays));
    Ok(())
}

fn leaks_name(victim: &mut Victim<'_>) -> Played {
    let name = Segment::builder(4096).memory(monshm::MemoryKind::Named);
    let segment = name.create()?;
    let _ = victim;
    std::mem::forget(segment);
    Ok(())
}

fn overwritten(victim: &mut Victim<'_>) -> Played {
    let mut buffer = victim.buffer(64)?;
    // SAFETY: the byte before the buffer belongs to the same private mapping.
    unsafe { buffer.bytes().as_mut_ptr().sub(1).write_volatile(0) };
    victim.is_whole(&buffer);
    Ok(())
}
