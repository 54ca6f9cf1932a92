//! The world: events in virtual time around one supervisor.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use iothub_amqp::recovery::Operation;
use iothub_amqp::supervisor::{
    Cause, Epoch, Input, LaneId, LaneKind, Outcome, SignIn, SlotId, SlotSettings, Supervisor, TicketId,
    TransferId,
};
use iothub_amqp::{Batching, Condition, Interruption, Lost};

use super::Trace;
use super::checker::{Checker, Tally};
use super::dice::Dice;
use super::plan::Plan;

/// The largest message that an application of these worlds sends.
pub(super) const LARGEST: usize = 20_000;

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) plan: Plan,
    pub(super) sign_in: SignIn,
    pub(super) slot: SlotSettings,
    pub(super) batching: Batching,
    pub(super) checker: Checker,
    pub(super) trace: Trace,
    pub(super) supervisor: Supervisor,
    /// Where virtual time begins; nothing depends on it.
    pub(super) origin: Instant,
    pub(super) now: Duration,
    pub(super) events: BTreeMap<(Duration, u64), Event>,
    pub(super) order: u64,
    pub(super) wire: Option<Wire>,
    pub(super) next_ticket: u64,
    /// Messages that the hub refuses for good.
    pub(super) poisoned: BTreeSet<TicketId>,
    /// When the token that the hub goes by was fetched, and the one that comes after it.
    pub(super) fetched: Duration,
    pub(super) in_use: Option<Duration>,
    pub(super) closed: bool,
    pub(super) finished: bool,
}

#[derive(Debug)]
pub(super) enum Event {
    /// The supervisor hears this. `conn` is whose fact it is, 0 for none's.
    Fact {
        conn: u32,
        input: Input,
    },
    /// The hub gets this.
    Arrive {
        epoch: Epoch,
        transfer: TransferId,
        tickets: Vec<TicketId>,
    },
    Enqueue(u64),
    Cut,
    Detach,
    /// The hub stops giving credit, or gives it again.
    Credit(bool),
    Close,
}

/// The driver's and the hub's side of the one connection.
pub(super) struct Wire {
    pub(super) conn: u32,
    pub(super) lane: Option<LaneSide>,
    pub(super) dry: bool,
    /// Nothing overtakes on a connection: not frames to the hub, not facts from it.
    pub(super) last_arrival: Duration,
    pub(super) last_fact: Duration,
}

pub(super) struct LaneSide {
    pub(super) epoch: Epoch,
    pub(super) offered: VecDeque<(TransferId, Vec<TicketId>)>,
    pub(super) flying: usize,
}

impl World {
    pub(super) fn new(seed: u64, origin: Instant) -> Self {
        let mut dice = Dice::new(seed);
        let (plan, settings, slot) = Plan::new(&mut dice);
        let mut world = Self {
            dice,
            sign_in: settings.sign_in,
            slot,
            batching: slot.batching,
            checker: Checker::new(seed, settings.clone(), slot),
            trace: Trace::new(),
            supervisor: Supervisor::new(settings, origin),
            origin,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            order: 0,
            wire: None,
            next_ticket: 0,
            poisoned: BTreeSet::new(),
            fetched: Duration::ZERO,
            in_use: None,
            closed: false,
            finished: false,
            plan,
        };
        world.schedule_the_plan();
        world
    }

    fn schedule_the_plan(&mut self) {
        let horizon = self.plan.horizon;
        let mut left = self.plan.messages;
        while left > 0 {
            let some = 1 + self.dice.below(left.min(40));
            let at = self.dice.up_to(horizon);
            self.at(at, Event::Enqueue(some));
            left -= some;
        }
        for _ in 0..self.plan.cuts {
            let at = self.dice.up_to(horizon);
            self.at(at, Event::Cut);
        }
        for _ in 0..self.plan.detaches {
            let at = self.dice.up_to(horizon);
            self.at(at, Event::Detach);
        }
        for _ in 0..self.plan.credit_pauses {
            let from = self.dice.up_to(horizon);
            let to = from + self.dice.up_to(Duration::from_secs(90));
            self.at(from, Event::Credit(false));
            self.at(to, Event::Credit(true));
        }
        self.at(horizon, Event::Close);
    }

    pub(super) fn run(mut self) -> Tally {
        let mut steps = 0_u64;
        let settings = self.slot;
        self.tell(Input::Join { slot: SLOT, settings });
        while !self.finished {
            steps += 1;
            self.checker.hold(steps < MAX_STEPS, "no end in sight");
            let timeout = self
                .supervisor
                .poll_timeout()
                .map(|at| at.saturating_duration_since(self.origin));
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = timeout.into_iter().chain(event).min() else {
                self.checker.hold(false, "messages wait and no timer runs");
                break;
            };
            self.now = self.now.max(next);
            self.checker.now = self.now;
            if event.is_some_and(|at| at <= self.now) {
                if let Some((_, event)) = self.events.pop_first() {
                    self.happen(event);
                }
            } else {
                self.supervisor.handle_timeout(self.time());
            }
            self.act();
            self.checker.step(
                self.supervisor.out(SLOT),
                self.supervisor.statistics(SLOT).expect("its slot stays"),
            );
            self.check_token();
        }
        self.checker.hold(
            self.supervisor.poll_timeout().is_none(),
            "a timer runs after the end",
        );
        let plan = &self.plan;
        let uncut = plan.is_uncut();
        let batched_poison = plan.poison > 0 && self.batching == Batching::On;
        let ordered = [plan.released, plan.busy, plan.throttled, plan.unsettled] == [0; 4] && !batched_poison;
        self.checker.end(
            self.supervisor.statistics(SLOT).expect("its slot stays"),
            uncut,
            ordered,
            self.trace.finish(),
        )
    }

    fn happen(&mut self, event: Event) {
        self.trace.note(self.now, &event);
        match event {
            Event::Fact { input, .. } => self.tell(input),
            Event::Arrive {
                epoch,
                transfer,
                tickets,
            } => self.arrive(epoch, transfer, &tickets),
            Event::Enqueue(count) => (0..count).for_each(|_| self.enqueue()),
            Event::Cut if self.wire.is_some() => {
                let why = match self.dice.below(3) {
                    0 => Interruption::Lost(Lost::Idle),
                    1 => Interruption::Lost(Lost::Protocol),
                    _ => Interruption::Closed,
                };
                let cause = Cause::ended(why, Operation::Connection);
                self.cut(cause);
            }
            Event::Detach => self.detach(),
            Event::Credit(flows) => {
                if let Some(wire) = &mut self.wire {
                    wire.dry = !flows;
                }
                self.hand_over();
            }
            Event::Close => {
                self.quiet();
                self.closed = true;
                let deadline = self.time() + CALM;
                self.tell(Input::Close { deadline });
            }
            Event::Cut => {}
        }
    }

    /// From here on nothing fails any more.
    fn quiet(&mut self) {
        self.events.retain(|_, event| {
            !matches!(
                event,
                Event::Credit(false)
                    | Event::Cut
                    | Event::Detach
                    | Event::Fact {
                        input: Input::Withdraw { .. },
                        ..
                    }
            )
        });
        self.checker.calm = self.plan.fatal == 0;
    }

    fn enqueue(&mut self) {
        let ticket = TicketId(self.next_ticket);
        self.next_ticket += 1;
        let size = if self.chance(10) {
            LARGEST
        } else {
            1 + self.below(900)
        };
        let limit = match self.plan.short_deadlines {
            true => self.dice.up_to(Duration::from_secs(20)),
            false => Duration::from_secs(24 * 3600),
        };
        if self.chance(self.plan.poison) {
            self.poisoned.insert(ticket);
        }
        self.checker.given(ticket);
        self.tell(Input::Enqueue {
            slot: SLOT,
            ticket,
            size,
            deadline: self.time() + limit,
            limit,
        });
        if self.chance(self.plan.withdrawn) {
            self.later(Duration::from_secs(5), 0, Input::Withdraw { slot: SLOT, ticket });
        }
    }

    fn arrive(&mut self, epoch: Epoch, transfer: TransferId, tickets: &[TicketId]) {
        let settled = |outcome| Input::Settled {
            lane: LANE,
            epoch,
            transfer,
            outcome,
        };
        let rejected = |name: &str| Outcome::Rejected(Condition::new(name, None));
        self.checker.before_the_hub(tickets);
        let unsettled = self.fault(self.plan.unsettled);
        let outcome = if tickets.iter().any(|ticket| self.poisoned.contains(ticket)) {
            rejected(TOO_LARGE)
        } else if self.fault(self.plan.released) {
            Outcome::Released
        } else if self.fault(self.plan.busy) {
            rejected("amqp:internal-error")
        } else if self.fault(self.plan.throttled) {
            rejected("com.microsoft:device-container-throttled")
        } else {
            if !unsettled || self.dice.coin() {
                tickets.iter().for_each(|ticket| self.checker.at_hub(*ticket));
            }
            Outcome::Accepted
        };
        if let Some(lane) = self.lane(epoch) {
            lane.flying -= 1;
            self.hand_over();
        }
        if !unsettled {
            let latency = self.plan.latency;
            self.later(latency, epoch.conn, settled(outcome));
        }
    }

    /// The connection ends: of what was on its way a part still counts, in its order.
    fn cut(&mut self, cause: Cause) {
        let Some(wire) = self.wire.take() else { return };
        self.in_use = None;
        self.sweep(|epoch| epoch.conn == wire.conn, wire.conn, true);
        self.checker.gone(wire.conn);
        self.fact_at(
            self.now,
            wire.conn,
            Input::Lost {
                conn: wire.conn,
                cause,
            },
        );
    }

    fn detach(&mut self) {
        let Some(epoch) = self
            .wire
            .as_ref()
            .and_then(|wire| wire.lane.as_ref())
            .map(|lane| lane.epoch)
        else {
            return;
        };
        let fatal = self.fault(self.plan.fatal);
        let name = if fatal {
            self.dice.pick(&["amqp:not-found", "amqp:link:stolen"])
        } else {
            self.dice.pick(&[
                "amqp:link:detach-forced",
                "amqp:internal-error",
                "amqp:session:window-violation",
                "com.microsoft:device-container-throttled",
                "com.example:unheard-of",
            ])
        };
        let operation = self.dice.pick(&[Operation::Link, Operation::Session]);
        let why = Interruption::Refused(Condition::new(name, None));
        self.lane_ends(epoch, Cause::ended(why, operation));
    }

    pub(super) fn lane_ends(&mut self, epoch: Epoch, cause: Cause) {
        self.sweep(|of| of == epoch, epoch.conn, true);
        if let Some(wire) = &mut self.wire {
            wire.lane = None;
        }
        self.fact_at(
            self.now,
            epoch.conn,
            Input::LaneLost {
                lane: LANE,
                epoch,
                cause,
            },
        );
    }

    /// Of the frames on their way to the hub a first part arrives; of its answers a first part is heard. That the
    /// engine took something is always heard: now if the end is told `in_order`, or some time.
    pub(super) fn sweep(&mut self, ended: impl Fn(Epoch) -> bool, conn: u32, in_order: bool) {
        let (mut arrives, mut heard) = (self.dice.below(20), self.dice.below(20));
        let keys: Vec<_> = self.events.keys().copied().collect();
        let mut kept = Vec::new();
        for key in keys {
            let Some(event) = self.events.remove(&key) else {
                continue;
            };
            let of = match &event {
                Event::Arrive { epoch, .. } => Some(*epoch),
                Event::Fact { input, .. } => epoch_of(input),
                _ => None,
            };
            let whole_connection =
                matches!(&event, Event::Fact { conn: of, input } if *of == conn && epoch_of(input).is_none());
            if of.is_none_or(|epoch| !ended(epoch))
                && !(whole_connection
                    && ended(Epoch {
                        conn,
                        ..Epoch::default()
                    }))
            {
                self.events.insert(key, event);
                continue;
            }
            match event {
                Event::Arrive { tickets, .. } if arrives > 0 => {
                    arrives -= 1;
                    let refused = tickets.iter().any(|ticket| self.poisoned.contains(ticket));
                    if !refused {
                        tickets.iter().for_each(|ticket| self.checker.at_hub(*ticket));
                    }
                }
                Event::Fact { input, .. } if matches!(input, Input::Handed { .. }) => kept.push(input),
                Event::Fact { input, .. } if matches!(input, Input::Settled { .. }) && heard > 0 => {
                    heard -= 1;
                    kept.push(input);
                }
                _ => {}
            }
        }
        let late = if in_order {
            Duration::ZERO
        } else {
            self.dice.up_to(Duration::from_secs(20))
        };
        for input in kept {
            self.fact_at(self.now + late, 0, input);
        }
    }

    /// Only in a world where nothing keeps a new token away.
    fn check_token(&self) {
        let free = [self.plan.token_fails, self.plan.put_fails, self.plan.put_hangs] == [0; 3];
        if let Some(fetched) = self.in_use.filter(|_| free && !self.closed) {
            let nine_tenths = self.plan.token_life * 9 / 10;
            self.checker.hold(
                self.now - fetched <= nine_tenths,
                "a token in use has less than a tenth of its life",
            );
        }
    }

    pub(super) fn lane(&mut self, epoch: Epoch) -> Option<&mut LaneSide> {
        self.wire
            .as_mut()?
            .lane
            .as_mut()
            .filter(|lane| lane.epoch == epoch)
    }

    fn tell(&mut self, input: Input) {
        self.checker.tell(&input);
        self.supervisor.handle(input.clone(), self.time());
        self.act();
        self.checker.told(&input);
        if let Input::Settled {
            transfer, outcome, ..
        } = &input
            && comes_back(outcome)
        {
            let on_its_way = self.events.values().filter_map(|event| match event {
                Event::Arrive { tickets, .. } => Some(tickets),
                _ => None,
            });
            let on_its_way = on_its_way.flatten().copied().collect();
            self.checker.came_back(*transfer, &on_its_way);
        }
    }

    /// A fact, after some time up to `wait`, behind the facts of its connection.
    pub(super) fn later(&mut self, wait: Duration, conn: u32, input: Input) {
        let mut at = self.now + self.dice.up_to(wait);
        if let Some(wire) = self.wire.as_mut().filter(|wire| wire.conn == conn) {
            at = at.max(wire.last_fact);
            wire.last_fact = at;
        }
        self.fact_at(at, conn, input);
    }

    pub(super) fn fact_at(&mut self, at: Duration, conn: u32, input: Input) {
        self.at(at, Event::Fact { conn, input });
    }

    pub(super) fn at(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.events.insert((at, self.order), event);
    }

    fn time(&self) -> Instant {
        self.origin + self.now
    }

    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.dice.permille(permille)
    }

    /// A fault, which none is once the world is quiet.
    pub(super) fn fault(&mut self, permille: u64) -> bool {
        let happens = self.dice.permille(permille);
        happens && !self.closed
    }

    fn below(&mut self, end: u64) -> usize {
        usize::try_from(self.dice.below(end)).unwrap_or(usize::MAX)
    }
}

/// Whether the message is to be sent again.
fn comes_back(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Accepted => false,
        Outcome::Rejected(condition) => condition.name != TOO_LARGE,
        Outcome::Released => true,
    }
}

/// The lane that a fact is of.
fn epoch_of(input: &Input) -> Option<Epoch> {
    match input {
        Input::LaneUp { epoch, .. }
        | Input::LaneLost { epoch, .. }
        | Input::Handed { epoch, .. }
        | Input::NotHanded { epoch, .. }
        | Input::Settled { epoch, .. } => Some(*epoch),
        _ => None,
    }
}

pub(super) const SLOT: SlotId = SlotId(0);

pub(super) const LANE: LaneId = LaneId {
    slot: SLOT,
    kind: LaneKind::Telemetry,
};

/// What the hub says of what it refuses for good.
const TOO_LARGE: &str = "amqp:link:message-size-exceeded";

/// How long the world is given to come to rest, once nothing fails any more.
const CALM: Duration = Duration::from_secs(3600);

const MAX_STEPS: u64 = 200_000;
