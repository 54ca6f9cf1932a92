//! The driver's and the hub's side of the world: what becomes of each action.

use std::collections::VecDeque;
use std::time::Duration;

use iothub_amqp::recovery::{Operation, Recovery, token_condition};
use iothub_amqp::supervisor::{Action, Cause, Epoch, Input, NotHanded, SignIn, TokenLife, TransferId};
use iothub_amqp::{Interruption, OPERATION_TIMEOUT, Phase};

use super::world::{Event, LANE, LaneSide, SLOT, Wire, World};

impl World {
    /// Does what the supervisor asks for, as the driver would.
    pub(super) fn act(&mut self) {
        while let Some(action) = self.supervisor.poll_action() {
            self.trace.note(self.now, &action);
            match action {
                Action::FetchToken(_) => self.fetch_token(),
                Action::Dial { conn } => self.dial(conn),
                Action::Blow { conn } => {
                    self.sweep(|epoch| epoch.conn == conn, conn, false);
                    self.checker.gone(conn);
                    self.wire = None;
                    self.in_use = None;
                }
                Action::CloseGently { conn, .. } => self.close_gently(conn),
                Action::PutToken { conn, put, .. } => self.put_token(conn, put),
                Action::OpenLane(_, epoch) => self.open_lane(epoch),
                Action::CloseLane(_, epoch) => {
                    self.sweep(|of| of == epoch, epoch.conn, false);
                    if let Some(wire) = &mut self.wire {
                        wire.lane = None;
                    }
                }
                Action::Transfer {
                    epoch,
                    transfer,
                    tickets,
                    ..
                } => {
                    self.checker.transferred(epoch, transfer, &tickets);
                    if let Some(lane) = self.lane(epoch) {
                        lane.offered.push_back((transfer, tickets));
                        self.hand_over();
                    }
                }
                Action::TakeBack { epoch, transfer, .. } => self.take_back(epoch, transfer),
                Action::Complete(ticket, result) => self.checker.completed(ticket, &result),
                Action::Left(..) => {}
                Action::Report(..) => {}
                Action::Finished(_) => self.finished = true,
                other => self.checker.hold(false, &format!("nobody asked for {other:?}")),
            }
        }
    }

    fn fetch_token(&mut self) {
        if self.fault(self.plan.token_fails) {
            if self.dice.coin() {
                let why = Interruption::NoConnection("the vault is shut".to_owned());
                let recovery = if self.chance(self.plan.fatal) {
                    Recovery::GiveUp
                } else {
                    Recovery::Reconnect
                };
                self.later(
                    Duration::from_secs(1),
                    0,
                    Input::Token {
                        slot: SLOT,
                        result: Err(Cause { why, recovery }),
                    },
                );
            }
            return; // or it never answers
        }
        self.fetched = self.now;
        let life = TokenLife {
            left: self.plan.token_life,
            renews: true,
        };
        self.later(
            Duration::from_millis(200),
            0,
            Input::Token {
                slot: SLOT,
                result: Ok(life),
            },
        );
    }

    fn dial(&mut self, conn: u32) {
        self.checker.dialled(conn);
        let why = Interruption::NoConnection("nobody listens".to_owned());
        let lost = |why, recovery| Input::Lost {
            conn,
            cause: Cause { why, recovery },
        };
        // The first attempt is the caller's own: it is not made again.
        let fails = if conn == 1 { 10 } else { self.plan.dial_fails };
        let hangs = if conn == 1 { 0 } else { self.plan.dial_hangs };
        let silent = self.fault(hangs);
        if silent || self.fault(fails) {
            let fatal = self.chance(self.plan.fatal);
            let recovery = if fatal {
                Recovery::GiveUp
            } else {
                self.dice.pick(&[Recovery::Reconnect, Recovery::Throttled])
            };
            let wait = if silent {
                2 * OPERATION_TIMEOUT
            } else {
                self.dice.up_to(Duration::from_secs(3))
            };
            self.checker.gone(conn);
            self.fact_at(self.now + wait, conn, lost(why, recovery));
            return;
        }
        self.wire = Some(Wire {
            conn,
            lane: None,
            dry: false,
            last_arrival: self.now,
            last_fact: self.now,
        });
        if self.sign_in == SignIn::Plain {
            self.in_use = Some(self.fetched);
        }
        self.later(4 * self.plan.latency, conn, Input::Up { conn });
    }

    fn close_gently(&mut self, conn: u32) {
        let hangs = self.plan.dial_hangs;
        if !self.closed && self.fault(hangs) {
            return;
        }
        self.checker.gone(conn);
        self.wire = None;
        self.in_use = None;
        self.sweep(|epoch| epoch.conn == conn, conn, true);
        self.later(self.plan.latency, conn, Input::Closed { conn, result: Ok(()) });
    }

    fn put_token(&mut self, conn: u32, put: u32) {
        let mut wait = self.plan.latency;
        let result = if self.fault(self.plan.put_fails) {
            let status = if self.chance(self.plan.fatal) { 401 } else { 500 };
            let why = Interruption::Refused(token_condition(status, None));
            Err(Cause::ended(why, Operation::PutToken))
        } else if self.fault(self.plan.put_hangs) {
            if self.dice.coin() {
                return;
            }
            wait = OPERATION_TIMEOUT + Duration::from_secs(1); // after nobody waits for it any more
            Ok(())
        } else {
            self.in_use = Some(self.fetched);
            Ok(())
        };
        self.later(wait, conn, Input::TokenPut { conn, put, result });
    }

    fn open_lane(&mut self, epoch: Epoch) {
        self.checker.link_opened();
        let Some(wire) = &mut self.wire else { return };
        wire.lane = Some(LaneSide {
            epoch,
            offered: VecDeque::new(),
            flying: 0,
        });
        if self.fault(self.plan.attach_fails) && epoch.conn > 1 {
            let phase = Phase::Attach;
            let after = OPERATION_TIMEOUT;
            let timed_out = Interruption::TimedOut { phase, after };
            let why = if self.dice.coin() {
                timed_out
            } else {
                Interruption::Closed
            };
            let cause = Cause::ended(why, Operation::Link);
            self.lane_ends(epoch, cause);
            return;
        }
        let limit = 256 * 1024;
        self.later(
            2 * self.plan.latency,
            epoch.conn,
            Input::LaneUp {
                lane: LANE,
                epoch,
                limit,
            },
        );
    }

    /// The lane gives the engine what the hub's credit allows.
    pub(super) fn hand_over(&mut self) {
        let Some(wire) = &mut self.wire else { return };
        let Some(lane) = &mut wire.lane else { return };
        let epoch = lane.epoch;
        let mut handed = Vec::new();
        while lane.flying < self.plan.credit && !wire.dry {
            let Some(next) = lane.offered.pop_front() else {
                break;
            };
            lane.flying += 1;
            handed.push(next);
        }
        for (transfer, tickets) in handed {
            self.later(
                A_MOMENT,
                epoch.conn,
                Input::Handed {
                    lane: LANE,
                    epoch,
                    transfer,
                },
            );
            let wait = self.dice.up_to(self.plan.latency);
            if let Some(wire) = &mut self.wire {
                let at = wire.last_arrival.max(self.now + wait);
                wire.last_arrival = at;
                self.at(
                    at,
                    Event::Arrive {
                        epoch,
                        transfer,
                        tickets,
                    },
                );
            }
        }
    }

    fn take_back(&mut self, epoch: Epoch, transfer: TransferId) {
        let Some(lane) = self.lane(epoch) else { return };
        let Some(at) = lane.offered.iter().position(|(offered, _)| *offered >= transfer) else {
            return;
        };
        for (transfer, _) in lane.offered.split_off(at) {
            let why = NotHanded::Withdrawn;
            self.later(
                Duration::ZERO,
                epoch.conn,
                Input::NotHanded {
                    lane: LANE,
                    epoch,
                    transfer,
                    why,
                },
            );
        }
    }
}

/// How long a task's word to the supervisor is on its way: long for a machine, so that much falls into it.
const A_MOMENT: Duration = Duration::from_millis(50);
