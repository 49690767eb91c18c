//! The ring against a model: random calls on the ring and on a `VecDeque` must agree at each step.
//!
//! One thread only: what concurrency adds is in the loom models and in `threads.rs`.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use monshm_rbuf::{Adaptive, Consumer, Drops, Error, Label, Memory, Plain, Policy, Producer, Ring, StaticRing};
use proptest::prelude::*;

/// Small and not a power of two, so that a few calls wrap it.
const SIZE: usize = 72;
const ME: NonZeroU32 = NonZeroU32::MIN;

#[derive(Clone, Debug)]
enum Call {
    Write(usize),
    WritePartial(usize),
    WriteOrDrop(usize),
    WriteGrant(usize, usize),
    WriteBatch(Vec<usize>),
    Read(usize),
    ReadPartial(usize),
    ReadBatch(Vec<usize>),
    Skip(usize),
    Peek(usize, usize),
    /// Give the role up and claim it again.
    ReopenProducer,
    ReopenConsumer,
}

fn call() -> impl Strategy<Value = Call> {
    let len = 0..SIZE + 4;
    prop_oneof![
        len.clone().prop_map(Call::Write),
        (0..20_usize).prop_map(Call::Write),
        len.clone().prop_map(Call::WritePartial),
        len.clone().prop_map(Call::WriteOrDrop),
        (len.clone(), len.clone()).prop_map(|(reserve, commit)| Call::WriteGrant(reserve, commit)),
        prop::collection::vec(0..20_usize, 0..6).prop_map(Call::WriteBatch),
        len.clone().prop_map(Call::Read),
        (0..20_usize).prop_map(Call::Read),
        len.clone().prop_map(Call::ReadPartial),
        prop::collection::vec(0..20_usize, 0..6).prop_map(Call::ReadBatch),
        len.clone().prop_map(Call::Skip),
        (len.clone(), len).prop_map(|(look, release)| Call::Peek(look, release)),
        Just(Call::ReopenProducer),
        Just(Call::ReopenConsumer),
    ]
}

/// The bytes of a ring as the reference describes it, and a source of bytes that never repeat soon.
#[derive(Default)]
struct Model {
    bytes: VecDeque<u8>,
    next: u8,
    drops: Drops,
}

impl Model {
    fn fresh(&mut self, len: usize) -> Vec<u8> {
        (0..len)
            .map(|_| {
                self.next = self.next.wrapping_add(1);
                self.next
            })
            .collect()
    }

    fn write_outcome(&self, len: usize) -> Result<(), Error> {
        let (limit, available) = (SIZE - 1, SIZE - 1 - self.bytes.len());
        match len {
            _ if len <= available => Ok(()),
            _ if len > limit => Err(Error::TooLong { requested: len, limit }),
            _ => Err(Error::Full { requested: len, available }),
        }
    }

    fn read_outcome(&self, len: usize) -> Result<Vec<u8>, Error> {
        let (limit, available) = (SIZE - 1, self.bytes.len());
        match len {
            _ if len <= available => Ok(self.bytes.iter().take(len).copied().collect()),
            _ if len > limit => Err(Error::TooLong { requested: len, limit }),
            _ => Err(Error::Empty { requested: len, available }),
        }
    }

    fn write(&mut self, src: &[u8]) -> Result<(), Error> {
        self.write_outcome(src.len())?;
        self.bytes.extend(src);
        Ok(())
    }

    fn read(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let read = self.read_outcome(len)?;
        self.bytes.drain(..len);
        Ok(read)
    }
}

fn run<M: Memory + Clone, P: Policy + Default>(memory: M, calls: &[Call]) {
    let mut model = Model::default();
    let mut producer = Producer::claim(memory.clone(), ME).unwrap();
    let mut consumer = Consumer::claim_with(memory.clone(), ME, P::default()).unwrap();
    let ring = Ring::new(memory.clone());
    for call in calls {
        match call {
            Call::Write(len) => {
                let src = model.fresh(*len);
                assert_eq!(producer.write(&src), model.write(&src));
            }
            Call::WritePartial(len) => {
                let src = model.fresh(*len);
                let fits = src.len().min(SIZE - 1 - model.bytes.len());
                model.write(&src[..fits]).unwrap();
                assert_eq!(producer.write_partial(&src), Ok(fits));
            }
            Call::WriteOrDrop(len) => {
                let src = model.fresh(*len);
                let expected = match model.write(&src) {
                    Err(Error::Full { .. }) => {
                        model.drops.records += 1;
                        model.drops.bytes += src.len() as u64;
                        Ok(false)
                    }
                    other => other.map(|()| true),
                };
                assert_eq!(producer.write_or_drop(&src), expected);
                assert_eq!(consumer.drops(), model.drops);
            }
            Call::WriteGrant(reserve, commit) => {
                let src = model.fresh(*reserve);
                let expected = model.write_outcome(*reserve);
                match producer.reserve(*reserve) {
                    Ok(mut grant) => {
                        expected.unwrap();
                        let middle = reserve / 3;
                        grant.write_at(middle, &src[middle..]).unwrap();
                        grant.write_at(0, &src[..middle]).unwrap();
                        assert!(grant.write_at(*reserve, &[0]).is_err());
                        if commit <= reserve {
                            grant.commit(*commit).unwrap();
                            model.write(&src[..*commit]).unwrap();
                        } else {
                            let beyond = Error::OutOfGrant { requested: *commit, available: *reserve };
                            assert_eq!(grant.commit(*commit), Err(beyond));
                        }
                    }
                    Err(refusal) => assert_eq!(Err(refusal), expected),
                }
            }
            Call::WriteBatch(lens) => {
                let before = ring.len().unwrap();
                let mut batch = producer.batch();
                let mut full = false;
                for len in lens {
                    let src = model.fresh(*len);
                    let outcome = model.write(&src);
                    full |= outcome.is_err();
                    assert_eq!(batch.write(&src), outcome);
                    let seen = if full { ring.len().unwrap() } else { before };
                    assert_eq!(ring.len().unwrap(), seen, "nothing is visible before the end of the batch");
                }
            }
            Call::Read(len) => {
                let mut dst = vec![0; *len];
                assert_eq!(consumer.read(&mut dst).map(|()| dst), model.read(*len));
            }
            Call::ReadPartial(len) => {
                let mut dst = vec![0; *len];
                let there = dst.len().min(model.bytes.len());
                assert_eq!(consumer.read_partial(&mut dst), Ok(there));
                assert_eq!(dst[..there], model.read(there).unwrap());
            }
            Call::ReadBatch(lens) => {
                let mut batch = consumer.batch();
                for len in lens {
                    let mut dst = vec![0; *len];
                    assert_eq!(batch.read(&mut dst).map(|()| dst), model.read(*len));
                }
            }
            Call::Skip(len) => assert_eq!(consumer.skip(*len), model.read(*len).map(drop)),
            Call::Peek(look, release) => {
                let grant = consumer.peek().unwrap();
                assert_eq!(grant.len(), model.bytes.len());
                let mut dst = vec![0; *look];
                match model.read_outcome(*look) {
                    Ok(expected) => {
                        grant.read_at(0, &mut dst).unwrap();
                        assert_eq!(dst, expected);
                        if let Some(last) = expected.last() {
                            grant.read_at(look - 1, &mut dst[..1]).unwrap();
                            assert_eq!(dst[0], *last);
                        }
                    }
                    Err(_) => assert!(grant.read_at(0, &mut dst).is_err()),
                }
                if *release <= model.bytes.len() {
                    grant.release(*release).unwrap();
                    model.read(*release).unwrap();
                } else {
                    assert!(grant.release(*release).is_err());
                }
            }
            Call::ReopenProducer => {
                drop(producer);
                assert!(consumer.is_closed() && consumer.is_abandoned());
                producer = Producer::claim(memory.clone(), ME).unwrap();
                assert!(!consumer.is_closed() && !consumer.is_abandoned());
            }
            Call::ReopenConsumer => {
                drop(consumer);
                assert!(producer.is_closed() && producer.is_abandoned());
                consumer = Consumer::claim_with(memory.clone(), ME, P::default()).unwrap();
                assert!(!producer.is_closed());
            }
        }
        assert_eq!(ring.len(), Ok(model.bytes.len()));
        assert_eq!(ring.avail(), Ok(SIZE - 1 - model.bytes.len()));
        assert_eq!(producer.available(), Ok(SIZE - 1 - model.bytes.len()));
        assert_eq!(consumer.available(), Ok(model.bytes.len()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_agree_with_a_deque(calls in prop::collection::vec(call(), 0..120)) {
        run::<_, Adaptive>(StaticRing::<SIZE>::new().memory(), &calls);
        run::<_, Plain>(StaticRing::<SIZE>::new().memory(), &calls);
    }

    #[test]
    fn locked_use_agrees_with_a_deque(
        calls in prop::collection::vec((0..3_u8, 0..SIZE + 4), 0..120)
    ) {
        let memory = StaticRing::<SIZE>::new();
        let ring = Ring::new(memory.memory());
        let mut model = Model::default();
        for (what, len) in calls {
            match what {
                0 => {
                    let src = model.fresh(len);
                    prop_assert_eq!(ring.append(&src), model.write(&src));
                }
                1 => {
                    let mut dst = vec![0; len];
                    prop_assert_eq!(ring.read(&mut dst).map(|()| dst), model.read(len));
                }
                _ => prop_assert_eq!(ring.skip(len), model.read(len).map(drop)),
            }
            prop_assert_eq!(ring.len(), Ok(model.bytes.len()));
            let (head, tail) = (ring.head().unwrap(), ring.tail().unwrap());
            prop_assert_eq!(head == tail, model.bytes.is_empty());
        }
    }

    #[test]
    fn records_agree_with_a_deque(
        calls in prop::collection::vec((0..8_u8, 0..SIZE / 2 + 4, any::<(u8, u8, u16)>()), 0..160)
    ) {
        let memory = StaticRing::<SIZE>::new();
        let mut producer = Producer::claim(memory.memory(), ME).unwrap();
        let mut consumer = Consumer::claim(memory.memory(), ME).unwrap();
        let mut model: VecDeque<(Label, bool, Vec<u8>)> = VecDeque::new();
        let mut bytes = Model::default();
        let mut dropped = 0;
        for (what, len, (kind, flags, tag)) in calls {
            let label = Label { kind, flags, tag };
            let payload = bytes.fresh(len);
            let limit = producer.record_limit();
            match what {
                0..=3 => {
                    let checked = what == 3;
                    let outcome = match what {
                        0 => producer.push(label, &payload),
                        1 => producer.push_or_drop(label, &payload).map(|written| {
                            if !written { dropped += 1 }
                        }),
                        2 => match producer.reserve_record(label, len) {
                            Ok(mut grant) => {
                                grant.write_at(0, &payload).unwrap();
                                grant.commit(len)
                            }
                            Err(refusal) => Err(refusal),
                        },
                        _ => producer.push_checked(label, &payload),
                    };
                    let limit = if checked { limit - 8 } else { limit };
                    match outcome {
                        Ok(()) if what == 1 && consumer.drops().records != dropped => unreachable!(),
                        Ok(()) if what == 1 && consumer.take_drops().records == 1 => {}
                        Ok(()) => {
                            prop_assert!(len <= limit);
                            model.push_back((label, checked, payload));
                        }
                        Err(Error::TooLong { requested, limit: stated }) => {
                            prop_assert_eq!((requested, stated), (len, limit));
                            prop_assert!(len > limit);
                        }
                        Err(Error::Full { requested, available }) => prop_assert!(requested > available),
                        Err(other) => prop_assert!(false, "{}", other),
                    }
                    // An empty ring takes every record up to the limit.
                    if model.is_empty() {
                        prop_assert!(len > limit || what == 1);
                    }
                }
                4 | 5 => {
                    let mut dst = vec![0; SIZE];
                    match (consumer.pop(&mut dst), model.pop_front()) {
                        (Ok(record), Some((label, checked, payload))) => {
                            prop_assert_eq!((record.label(), record.is_checked()), (label, checked));
                            prop_assert_eq!(&dst[..record.len()], &payload[..]);
                        }
                        (Err(Error::Empty { .. }), None) => {}
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                6 => match (consumer.peek_record(), model.front()) {
                    (Ok(mut grant), Some((label, _, payload))) => {
                        prop_assert_eq!(grant.record().label(), *label);
                        let mut dst = vec![0; payload.len()];
                        grant.read(&mut dst).unwrap();
                        prop_assert_eq!(&dst, payload);
                        grant.release();
                        model.pop_front();
                    }
                    (Err(Error::Empty { .. }), None) => {}
                    other => prop_assert!(false, "{:?}", other),
                },
                _ => {
                    let mut buffer = [0; SIZE];
                    let most = len % 4;
                    let expected = most.min(model.len());
                    let count = consumer.for_each(most, &mut buffer, |record, payload| {
                        let (label, _, expected) = model.pop_front().unwrap();
                        assert_eq!((record.label(), payload), (label, &expected[..]));
                    });
                    prop_assert_eq!(count, Ok(expected));
                }
            }
        }
    }
}
