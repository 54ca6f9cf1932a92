//! The task that owns a connection and all devices on it: it carries the supervisor's word to the driver's other
//! tasks, and what is found out to the supervisor. It decides nothing, and waits for nothing but its three branches.

mod obey;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::ahead::Ahead;
use super::command::{Answering, Asking, Closer, Command, Payload};
use super::connection::{self, Order, Plan};
use super::counted::ByCount;
use super::engine::{Login, Outgoing, Put};
use super::member::{Fetching, Items, Member, answer_closers};
use super::{Carried, Fact, Facts, LaneOrder};
use crate::credential::CredentialError;
use crate::error::{ConnectError, Interruption, SettleError, SubscribeError, TwinError};
use crate::supervisor::{
    Action, Cause, DeliveryId, Epoch, Input, LaneId, LaneKind, RequestId, SlotId, Supervisor, TicketId,
    TokenLife, Verdict, Word,
};
use crate::twin::{Answer, DesiredChange};

/// The parts that an owner is made of.
pub(crate) struct Parts {
    pub(crate) supervisor: Supervisor,
    pub(crate) plan: Arc<Plan>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
}

/// Runs until the supervisor has finished.
pub(crate) async fn run(parts: Parts) {
    let Parts {
        supervisor,
        plan,
        commands,
    } = parts;
    let (facts_in, facts) = mpsc::unbounded_channel();
    let (mut facts, mut commands) = (Ahead::new(facts), Ahead::new(commands));
    let mut owner = Owner {
        supervisor,
        plan,
        facts: facts_in,
        tasks: JoinSet::new(),
        members: BTreeMap::new(),
        payloads: HashMap::default(),
        answering: BTreeMap::new(),
        asking: BTreeMap::new(),
        carried: None,
        touched: Touched::default(),
        connection: None,
        error: None,
        closers: Vec::new(),
        close_limit: Duration::ZERO,
    };
    let mut orphaned = false;
    let result = loop {
        owner.show_statistics();
        if let Some(result) = owner.act() {
            break result;
        }
        let due = owner.supervisor.poll_timeout();
        let due_at = due.map_or_else(Instant::now, Instant::from_std);
        tokio::select! {
            biased;
            Some(fact) = facts.next() => owner.hear_all(fact, &mut facts),
            command = commands.next(), if !orphaned => match command {
                Some(command) => owner.obey_all(command, &mut commands),
                None => {
                    orphaned = true;
                    owner.close_orphaned();
                }
            },
            () = sleep_until(due_at), if due.is_some() => {
                owner.supervisor.handle_timeout(Instant::now().into_std());
            }
        }
        // Whatever woke it, what is due is done with it, and that may be anybody's.
        owner.touched.all |= due.is_some_and(|_| due_at <= Instant::now());
        while owner.tasks.try_join_next().is_some() {}
    };
    owner.end(result, &mut commands).await;
}

struct Owner {
    supervisor: Supervisor,
    plan: Arc<Plan>,
    facts: Facts,
    /// Connections, and questions to credentials.
    tasks: JoinSet<()>,
    members: BTreeMap<SlotId, Member>,
    payloads: HashMap<TicketId, Payload, ByCount>,
    answering: BTreeMap<(LaneId, Epoch, DeliveryId), Answering>,
    asking: BTreeMap<RequestId, Asking>,
    /// What the fact that the supervisor hears of just now carries.
    carried: Option<Carried>,
    /// Whose statistics may have changed.
    touched: Touched,
    connection: Option<Present>,
    /// Why the connection could not be made.
    error: Option<ConnectError>,
    /// Who waits for the end of it all.
    closers: Vec<Closer>,
    close_limit: Duration,
}

#[derive(Default)]
struct Touched {
    slots: BTreeSet<SlotId>,
    all: bool,
}

impl Touched {
    /// `None` is something that is not one slot's.
    fn touch(&mut self, slot: Option<SlotId>) {
        match slot {
            Some(slot) => drop(self.slots.insert(slot)),
            None => self.all = true,
        }
    }
}

/// The present connection. Dropping it stops its task.
struct Present {
    conn: u32,
    orders: mpsc::UnboundedSender<Order>,
    _stop: oneshot::Sender<()>,
}

impl Owner {
    /// Hears a fact; if it is of a message on its way, those behind it too that are of such, and what follows from them is
    /// decided once.
    fn hear_all(&mut self, first: Fact, facts: &mut Ahead<Fact>) {
        if !first.is_of_a_transfer() {
            return self.hear(first);
        }
        let now = Instant::now().into_std();
        self.note(first, now);
        for _ in 1..BURST {
            let Some(fact) = facts.next_if(Fact::is_of_a_transfer) else {
                break;
            };
            self.note(fact, now);
        }
        self.supervisor.handle_timeout(now);
    }

    fn note(&mut self, fact: Fact, now: std::time::Instant) {
        if let Fact::Found(input, None) = fact {
            self.touched.touch(input.slot());
            self.supervisor.note(input, now);
        }
    }

    /// As [`hear_all`](Self::hear_all), of messages that are to be sent.
    fn obey_all(&mut self, first: Command, commands: &mut Ahead<Command>) {
        let burst = if first.is_send() { BURST } else { 1 };
        let now = Instant::now();
        self.obey(first, now);
        for _ in 1..burst {
            let Some(command) = commands.next_if(Command::is_send) else {
                break;
            };
            self.obey(command, now);
        }
        self.supervisor.handle_timeout(now.into_std());
    }

    fn hear(&mut self, fact: Fact) {
        let input = match fact {
            Fact::Found(input, error) => {
                if let Some(error) = error {
                    self.remember(&input, error);
                }
                input
            }
            Fact::Carrying(input, carried) => {
                self.carried = Some(carried);
                input
            }
            Fact::Token(slot, result) => {
                let Some(member) = self.members.get_mut(&slot) else {
                    return;
                };
                let result = match result {
                    Ok(token) => {
                        let left = token
                            .expires_at()
                            .saturating_duration_since(self.plan.clock.now());
                        let renews = member
                            .credential
                            .as_ref()
                            .is_some_and(|credential| credential.renews());
                        member.token_ends.send_replace(Some(token.expires_at()));
                        member.token = Some(token);
                        Ok(TokenLife { left, renews })
                    }
                    Err(error) => {
                        let error = ConnectError::Credential(error);
                        let cause = Cause::not_made(&error);
                        member.error = Some(error);
                        Err(cause)
                    }
                };
                Input::Token { slot, result }
            }
        };
        self.tell(input);
    }

    /// Keeps the whole of an error for whoever waits to be connected. That of a device which has gone is nobody else's.
    fn remember(&mut self, input: &Input, error: ConnectError) {
        let slot = match input {
            Input::Lost { .. } => {
                self.error = Some(error);
                return;
            }
            Input::TokenPut { put, .. } => self.supervisor.slot_of_put(*put),
            input => input.slot(),
        };
        if let Some(member) = slot.and_then(|slot| self.members.get_mut(&slot)) {
            member.error = Some(error);
        }
    }

    fn tell(&mut self, input: Input) {
        let slot = match &input {
            Input::TokenPut { put, .. } => self.supervisor.slot_of_put(*put),
            input => input.slot(),
        };
        self.touched.touch(slot);
        self.supervisor.handle(input, Instant::now().into_std());
    }

    /// Does all that the supervisor asks for; `Some` when it has finished.
    fn act(&mut self) -> Option<Result<(), Interruption>> {
        while let Some(action) = self.supervisor.poll_action() {
            match action {
                Action::FetchToken(slot) => self.fetch_token(slot),
                Action::Dial { conn } => self.dial(conn),
                Action::Blow { conn } => {
                    self.forget_lanes();
                    self.connection.take_if(|present| present.conn == conn);
                }
                Action::CloseGently { deadline, .. } => {
                    self.forget_lanes();
                    let limit = deadline.saturating_duration_since(Instant::now().into_std());
                    self.order(Order::Close(limit));
                }
                Action::PutToken { put, slot, .. } => self.put_token(put, slot),
                Action::OpenLane(lane, epoch) => self.open_lane(lane, epoch),
                Action::CloseLane(lane, epoch) => {
                    if let Some(member) = self.members.get_mut(&lane.slot)
                        && member
                            .lanes
                            .get(&lane.kind)
                            .is_some_and(|(present, _)| *present == epoch)
                    {
                        member.lanes.remove(&lane.kind);
                    }
                }
                Action::EndSession { slot } => {
                    if let Some(member) = self.members.get_mut(&slot) {
                        member.lanes.clear();
                    }
                    self.order(Order::EndSession(slot));
                }
                Action::Transfer {
                    lane,
                    epoch,
                    transfer,
                    tickets,
                } => {
                    let messages = tickets
                        .iter()
                        .filter_map(|ticket| self.payloads.get(ticket))
                        .map(|payload| payload.message.clone());
                    if let Some(outgoing) = Outgoing::of(messages) {
                        self.lane_order(lane, epoch, LaneOrder::Transfer(transfer, outgoing));
                    }
                }
                Action::TakeBack {
                    lane,
                    epoch,
                    transfer,
                } => {
                    self.lane_order(lane, epoch, LaneOrder::TakeBack(transfer));
                }
                Action::Complete(ticket, result) => {
                    if let Some(payload) = self.payloads.remove(&ticket) {
                        let _ = payload.reply.send(result); // whoever asked may have gone
                    }
                }
                Action::Subscribed(lane, result) => self.subscribed(lane, result),
                Action::StreamEnded(lane, why) => {
                    if let Some(member) = self.members.get_mut(&lane.slot)
                        && let Some(stream) = member.streams.remove(&lane.kind)
                    {
                        stream.end(why);
                    }
                }
                Action::Deliver {
                    lane,
                    epoch,
                    delivery,
                } => self.deliver(lane, epoch, delivery),
                Action::Dispose {
                    lane,
                    epoch,
                    delivery,
                    verdict,
                } => {
                    let answering = self.answering.get_mut(&(lane, epoch, delivery));
                    let answer = answering.and_then(|answering| answering.answer.take());
                    if verdict == Verdict::Forget {
                        self.answering.remove(&(lane, epoch, delivery));
                    }
                    self.lane_order(lane, epoch, LaneOrder::Dispose(delivery, verdict, answer));
                }
                Action::Disposed {
                    lane,
                    epoch,
                    delivery,
                    word,
                } => {
                    let answering = self.answering.remove(&(lane, epoch, delivery));
                    if let Some(reply) = answering.and_then(|answering| answering.reply) {
                        let _ = reply.send(match (word, &self.carried) {
                            (Word::TooLate, _) => Err(SettleError::LockLost),
                            (Word::Unknown, _) => Err(SettleError::Unknown),
                            (Word::Taken, Some(Carried::TooLarge { size, limit })) => {
                                Err(SettleError::too_large(*size, *limit))
                            }
                            (Word::Taken, _) => Ok(()),
                        });
                    }
                }
                Action::Quiet(lane, epoch) => self.lane_order(lane, epoch, LaneOrder::Quiet),
                Action::Ask {
                    lane,
                    epoch,
                    request,
                    question,
                } => {
                    // It may have to be asked again, so the patch stays.
                    let patch = self.asking.get(&request).and_then(|asking| asking.patch.clone());
                    self.lane_order(lane, epoch, LaneOrder::Ask(request, question, patch));
                }
                Action::CompleteRequest(request, result) => self.complete_request(request, result),
                Action::DeliverDesired { slot, version, whole } => self.deliver_desired(slot, version, whole),
                Action::Report(slot, status) => {
                    let error = self.error.as_ref();
                    if let Some(member) = self.members.get_mut(&slot) {
                        member.report(status, error);
                    }
                }
                Action::Left(slot, statistics, result) => {
                    if let Some(mut member) = self.members.remove(&slot) {
                        member.show(statistics);
                        member.left(&result);
                    }
                }
                Action::Finished(result) => return Some(result),
            }
        }
        self.carried = None;
        None
    }

    fn fetch_token(&mut self, slot: SlotId) {
        let Some(member) = self.members.get_mut(&slot) else {
            return;
        };
        let Some(credential) = member.credential.clone() else {
            return; // the supervisor asks only for what the sign-in needs
        };
        let facts = self.facts.clone();
        let (resource, limit) = (member.resource.clone(), self.plan.limit);
        let clock = Arc::clone(&self.plan.clock);
        let fetching = self.tasks.spawn(async move {
            let now = clock.now();
            // The supervisor counts the same time, and goes on without the answer.
            let answer = timeout(limit, credential.token(&resource, now)).await;
            let answer =
                answer.unwrap_or_else(|_| Err(CredentialError::passing("the credential does not answer")));
            let _ = facts.send(Fact::Token(slot, answer));
        });
        member.fetching = Some(Fetching(fetching));
    }

    fn dial(&mut self, conn: u32) {
        let (orders, queue) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let (plan, facts) = (Arc::clone(&self.plan), self.facts.clone());
        // By PLAIN there is one, and its token makes the connection.
        let login = self.members.values().find_map(|member| {
            let user = member.user.clone();
            member.token.clone().map(|token| Login { user, token })
        });
        self.error = None;
        self.tasks
            .spawn(connection::run(plan, conn, login, queue, stopped, facts));
        self.forget_lanes();
        self.connection = Some(Present {
            conn,
            orders,
            _stop: stop,
        });
    }

    fn put_token(&mut self, put: u32, slot: SlotId) {
        if let Some(member) = self.members.get(&slot)
            && let Some(token) = member.token.clone()
        {
            let audience = member.resource.as_str().to_owned();
            self.order(Order::PutToken(Put {
                number: put,
                audience,
                token,
            }));
        }
    }

    fn open_lane(&mut self, lane: LaneId, epoch: Epoch) {
        let (orders, queue) = mpsc::unbounded_channel();
        let Some(member) = self.members.get_mut(&lane.slot) else {
            return;
        };
        member.lanes.insert(lane.kind, (epoch, orders));
        let place = Arc::clone(&member.place);
        let reading = member.reading(lane, epoch);
        self.order(Order::OpenLane {
            lane,
            epoch,
            place,
            reading,
            orders: queue,
        });
    }

    fn subscribed(&mut self, lane: LaneId, result: Result<(), SubscribeError>) {
        let Some(member) = self.members.get_mut(&lane.slot) else {
            return;
        };
        let failed = result.is_err();
        if let Some(stream) = member.streams.get_mut(&lane.kind)
            && let Some(reply) = stream.reply.take()
        {
            let _ = reply.send(result);
        }
        if failed {
            member.streams.remove(&lane.kind);
        }
    }

    fn deliver(&mut self, lane: LaneId, epoch: Epoch, delivery: DeliveryId) {
        let member = self.members.get_mut(&lane.slot);
        let taken = match (member, self.carried.take()) {
            (Some(member), Some(Carried::Events(events))) => return member.put(lane, events),
            (Some(member), Some(carried)) => {
                let stream = member.streams.get(&lane.kind);
                stream.is_some_and(|stream| stream.items.deliver(epoch, delivery, carried))
            }
            _ => false,
        };
        if !taken {
            // Nobody is there: the hub has it back.
            self.tell(Input::Answer {
                lane,
                epoch,
                delivery,
                verdict: Verdict::Abandon,
            });
        }
    }

    fn complete_request(&mut self, request: RequestId, result: Result<(), TwinError>) {
        let Some(asking) = self.asking.remove(&request) else {
            return;
        };
        let (version, body) = match self.carried.take() {
            Some(Carried::Answer { version, body }) => (version, body),
            _ => (None, Vec::new()),
        };
        let _ = asking.reply.send(match result {
            Ok(()) => Ok(Answer { version, body }),
            Err(TwinError::Refused { status, .. }) => {
                let text = String::from_utf8_lossy(&body).trim().to_owned();
                let message = (!text.is_empty()).then_some(text);
                Err(TwinError::Refused { status, message })
            }
            Err(error) => Err(error),
        });
    }

    fn deliver_desired(&mut self, slot: SlotId, version: i64, whole: bool) {
        let stream = self
            .members
            .get(&slot)
            .and_then(|member| member.streams.get(&LaneKind::Twin));
        let body = match self.carried.take() {
            Some(Carried::Answer { body, .. } | Carried::Change(body)) => body,
            _ => Vec::new(),
        };
        if let Some(stream) = stream
            && let Items::Changes(changes) = &stream.items
        {
            let _ = changes.send(DesiredChange::read(version, whole, &body));
        }
    }

    fn forget_lanes(&mut self) {
        for member in self.members.values_mut() {
            member.lanes.clear();
        }
    }

    /// What a task that has ended does not hear, it has answered with its end.
    fn order(&self, order: Order) {
        if let Some(present) = &self.connection {
            let _ = present.orders.send(order);
        }
    }

    fn lane_order(&self, lane: LaneId, epoch: Epoch, order: LaneOrder) {
        if let Some(member) = self.members.get(&lane.slot) {
            member.order(lane, epoch, order);
        }
    }

    /// Before the outcomes are told, so that who hears of one finds it counted.
    fn show_statistics(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        if touched.all {
            for (slot, member) in &self.members {
                if let Some(statistics) = self.supervisor.statistics(*slot) {
                    member.show(statistics);
                }
            }
            return;
        }
        for slot in touched.slots {
            if let (Some(member), Some(statistics)) =
                (self.members.get(&slot), self.supervisor.statistics(slot))
            {
                member.show(statistics);
            }
        }
    }

    /// Ends what is left, and answers who still asks.
    async fn end(mut self, result: Result<(), Interruption>, commands: &mut Ahead<Command>) {
        let why = match &result {
            Ok(()) => Interruption::Stopped,
            Err(why) => why.clone(),
        };
        self.connection = None;
        for command in commands.close() {
            match command.refuse(&why) {
                Some((None, closer)) => self.closers.push(closer),
                Some((Some(slot), closer)) => {
                    if let Some(member) = self.members.get_mut(&slot) {
                        member.closers.push(closer);
                    }
                }
                None => {}
            }
        }
        self.forget_lanes();
        // Their fuses are blown: they have nothing to wait for.
        let _ = timeout(super::REASON_TIMEOUT, async {
            while self.tasks.join_next().await.is_some() {}
        })
        .await;
        for member in self.members.values_mut() {
            member.left(&result);
        }
        answer_closers(&mut self.closers, &result, self.close_limit);
    }
}

/// How many messages are looked after in one go.
const BURST: usize = 64;
