//! [`Operation`]: one write that acquires a lock, and its repetitions.

use crate::{
    Deadline, FencingToken, Lease, LeaseId, Now, Op, OpKind, RecordVersion, Request, SentAt, Timing, Watch,
    lease_end::ends, retry::RepeatedWrite, takeover::token_floor, time::millis,
};

/// Operation to start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Start {
    Acquire,
    /// A takeover of the observed version.
    TakeOver,
    /// A new start of work after its success has ceased to count.
    Anew {
        seen: RecordVersion,
        token: FencingToken,
    },
}

/// One acquire, takeover or new start. Its lease ID belongs to it alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operation {
    pub(crate) write: RepeatedWrite,
    pub(crate) lease_id: LeaseId,
    /// Time before the first byte of its first attempt (R1).
    pub(crate) sent_at: SentAt,
    /// End of the validity of its lease.
    pub(crate) validity: Deadline,
}

impl Operation {
    /// Starts an operation. Its `sent_at` is now, before its first byte (R1). `watch` is the row to take over.
    pub(crate) fn new(request: &Request, start: Start, watch: Option<&Watch>, now: &Now<'_>) -> Self {
        let timing = &request.timing;
        let lease_id = LeaseId::from_random(now.entropy.lease_id);
        let seen = watch.filter(|_| start == Start::TakeOver);
        let lease = Lease {
            lease_id: lease_id.clone(),
            token_floor: token_floor(seen, now),
            lease_ms: millis(timing.lease()),
            ends: ends(timing.lease(), now),
            owner: request.owner.clone(),
            acquired_on: now.at.wall_ms,
            data: request.data.clone(),
            liveness_key: request.liveness_key.clone(),
        };
        let kind = match (start, seen) {
            (Start::Anew { seen, token }, _) => OpKind::StartAnew { lease, seen, token },
            (_, Some(watch)) => OpKind::TakeOver {
                lease,
                seen: watch.version.clone(),
                seen_token: watch.token,
                ended: watch.ended(now.at),
            },
            (_, None) => OpKind::Acquire(lease),
        };
        let (write, sent_at) = (RepeatedWrite::new(Op::new(&request.name, request.kind, kind, now)), SentAt(now.at));
        let validity = Deadline::new(sent_at, Timing::validity(timing.lease()));
        Self { write, lease_id, sent_at, validity }
    }
}
