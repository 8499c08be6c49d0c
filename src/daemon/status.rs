//! The control plane's replies: to `status`, and to the other control messages.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::daemon::rem_cycle::CycleMetrics;
use crate::lifecycle::state_file::{Digest, StateChange};
use crate::lifecycle::status_file::Quarantine;
use crate::memory::{AssistantCounters, ForgettingStatus};
use crate::serve::control_plane::Counters;
use crate::wire::reply;

/// The reply to `status`.
#[derive(Serialize)]
pub(crate) struct StatusReply<'a> {
    pub(crate) ok: bool,
    pub(crate) state: &'a str,
    pub(crate) fsm_state: &'a str,
    pub(crate) lifecycle_state: &'a str,
    pub(crate) uptime_sec: f64,
    pub(crate) version: &'a str,
    pub(crate) daemon_started_at: Timestamp,
    pub(crate) last_tick_at: Option<Timestamp>,
    pub(crate) quiet_window: Option<(u8, u8)>,
    pub(crate) pending_digest: Option<Digest>,
    pub(crate) scheduler_paused: bool,
    pub(crate) records: u64,
    #[serde(skip_serializing_if = "AssistantRecords::is_empty")]
    pub(crate) assistants: AssistantRecords<'a>,
    /// What happened to the store's files, if nothing can be stored any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store_error: Option<String>,
    /// How many secrets were masked, of which kind and in which session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) masked: Option<&'a RawValue>,
    /// A forgetting that is not at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) forgetting: Option<ForgettingStatus>,
    pub(crate) quarantine: Option<&'a Quarantine>,
    pub(crate) rem_cycle: RemCycleStatus<'a>,
    #[serde(flatten)]
    pub(crate) counters: &'a Counters,
}

/// The number of records of each assistant that has some, by its name.
pub(crate) struct AssistantRecords<'a>(pub(crate) &'a AssistantCounters);

impl AssistantRecords<'_> {
    fn is_empty(&self) -> bool {
        self.0.named().next().is_none()
    }
}

impl Serialize for AssistantRecords<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.named())
    }
}

#[derive(Serialize)]
pub(crate) struct RemCycleStatus<'a> {
    /// A `force_rem` is pending.
    pub(crate) asked: bool,
    #[serde(flatten)]
    pub(crate) metrics: &'a CycleMetrics,
}

/// The reply to another control message.
#[derive(Serialize)]
pub(crate) struct ControlReply<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
}

impl ControlReply<'static> {
    /// The refusal of a sleep command while asleep.
    pub(crate) const ALREADY_SLEEPING: ControlReply<'static> =
        ControlReply { ok: false, state: None, reason: Some("already_sleeping"), paused: None };

    /// The reply to `embed_cue`: that of a daemon whose embedder does not run. Clients then recall without an embedding.
    pub(crate) const NO_EMBEDDER: ControlReply<'static> =
        ControlReply { ok: false, state: None, reason: Some("daemon_not_ready"), paused: None };

    /// Returns the reply as a line.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        reply::object(&mut line, self);
        line
    }

    /// Returns the reply to the request for a change that is on disk.
    pub(crate) fn to(change: &StateChange) -> ControlReply<'static> {
        let none = ControlReply { ok: true, state: None, reason: None, paused: None };
        match change {
            StateChange::Sleep { .. } => ControlReply { state: Some("TRANSITIONING"), ..none },
            StateChange::Wake { .. } => ControlReply { reason: Some("wake_queued"), ..none },
            StateChange::Rem { .. } => ControlReply { reason: Some("rem_queued"), ..none },
            StateChange::Pause => ControlReply { paused: Some(true), ..none },
            StateChange::Resume => ControlReply { paused: Some(false), ..none },
            StateChange::SessionOpen { .. } => ControlReply { reason: Some("session_open_queued"), ..none },
            StateChange::CommandDone(_)
            | StateChange::CycleEnded
            | StateChange::SessionsForgotten(_)
            | StateChange::QuietWindow(_) => none,
        }
    }
}
