//! `iothub emulator …`

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use iothub_address::{ConsumerGroup, HubHost, HubName, Secret};

use super::values::{Size, secret};
use super::{Format, Span, administration, surroundings};

#[derive(Subcommand)]
pub(crate) enum Emulator {
    /// Run a hub until Ctrl-C or SIGTERM
    Run(Run),
    /// Print what a shell needs to reach a hub that runs
    Env(surroundings::Env),
    /// Print the certificate that clients of a hub must trust
    Ca(surroundings::Ca),
    /// Let something go wrong in a hub that runs
    #[command(subcommand)]
    Fault(administration::Fault),
    /// Show or turn the clock of a hub that runs
    #[command(subcommand)]
    Clock(administration::Clock),
    /// Print the identities and twins of a hub, as emulator run --seed reads them
    Export(Export),
}

/// Run a hub until Ctrl-C or SIGTERM.
///
/// Once it is ready it prints how to reach it, with -o json as one object on one line; then every event that it
/// receives, and on a terminal who comes and goes, messages to devices, methods and changes of twins, a line each. This output holds the keys, since that is its purpose. If
/// nobody reads it, the hub runs on. A browser on this machine finds the same as a page at the HTTPS port.
///
/// The same object is in the file emulator.json, readable by its owner only, in the state directory, with the token that
/// 'emulator fault' and 'clock' need. That is --state-dir, or else a folder of this run in $XDG_RUNTIME_DIR/iothub or the
/// temporary directory, which is removed at the end, or by the next run if this one is killed.
///
/// With --state-dir the next run goes on from there, also after a crash: what a client was told that the hub has is
/// written and synced to the disk before. Without it all is in memory. A --device or --policy that is there already
/// keeps what it has, but for a key that is given with it. One hub at a time may use a directory.
///
/// A line of a --seed file says by its importMode what is done: create, update, createOrUpdate (if it says nothing),
/// delete, updateTwin, or one of these IfMatchETag. A device without keys in its line keeps those that it has, or gets new
/// ones. If a line can't be used, the hub does not start, and nothing of the files is taken.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  iothub emulator run
  iothub emulator run --device dev1 --module dev1/m -o json
  iothub emulator run --device dev2=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=
  iothub emulator run --state-dir hub --partitions 8 --tier S1
  iothub emulator run --name hub.example --device-ca ca.pem --x509-device dev3")]
pub(crate) struct Run {
    /// The hub's name
    #[arg(long, value_name = "NAME", default_value = DEFAULT_HUB)]
    pub(crate) hub: HubName,

    /// Register a device, with a key of 16 to 64 bytes or a new one; an id that itself holds '=' needs its key
    /// [default: myFirstDevice, if the hub has none]
    #[arg(long, value_name = "ID[=BASE64KEY]", value_parser = secret)]
    pub(crate) device: Vec<Secret>,

    /// Register a module of a device, with a key or a new one; here the device's id holds no '='
    #[arg(long, value_name = "DEVICE/MODULE[=BASE64KEY]", value_parser = secret)]
    pub(crate) module: Vec<Secret>,

    /// Register a device, or with /MODULE a module, that signs in by a certificate with one of these thumbprints (SHA-1 or
    /// SHA-256, in hexadecimal); without any, by one that a --device-ca has signed and whose common name is the id
    #[arg(long, value_name = "ID[=THUMBPRINT[,THUMBPRINT]]")]
    pub(crate) x509_device: Vec<String>,

    /// Take the word of this authority for devices' certificates (PEM, one or more)
    #[arg(long, value_name = "FILE")]
    pub(crate) device_ca: Vec<PathBuf>,

    /// Add a policy, or give a built-in one its key
    #[arg(long, value_name = "NAME=BASE64KEY", value_parser = secret)]
    pub(crate) policy: Vec<Secret>,

    /// Answer to this host name or address too, and have it in the certificate
    #[arg(long, value_name = "HOST")]
    pub(crate) name: Vec<HubHost>,

    /// The address to listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) listen: IpAddr,

    /// The port of AMQP over TLS; 0 picks a free one [default: 5671]
    #[arg(long, value_name = "N")]
    pub(crate) amqps_port: Option<u16>,

    /// How many partitions the events are in, by their device's id [default: 4, or as many as the hub in --state-dir has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) partitions: Option<u16>,

    /// Let events be read in this consumer group too, beside $Default; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer_group: Vec<ConsumerGroup>,

    /// Listen for AMQP without TLS too, on this machine's loopback; 0 picks a free port
    #[arg(long, value_name = "N")]
    pub(crate) amqp_port: Option<u16>,

    /// The port of HTTPS; 0 picks a free one [default: 443, or a free one if that may not be bound]
    #[arg(long, value_name = "N")]
    pub(crate) https_port: Option<u16>,

    /// Keep the hub here: identities, twins, messages for devices, feedback, events, and its certificate authority
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Take identities and twins from a file: a JSON object a line, as emulator export and the export jobs of the service
    /// write it; may be given more than once
    #[arg(long, value_name = "FILE")]
    pub(crate) seed: Vec<PathBuf>,

    /// The most room for events, of memory or of disk with --state-dir, such as 64MiB; the oldest go first
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub(crate) log_size: Size,

    /// How long events stay, such as 24h
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(crate) log_age: Span,

    /// The tier, with whose throttles and daily quota the hub does as a real one: what exceeds them waits a little for
    /// its answer, and then is refused
    #[arg(long, value_name = "TIER", default_value = "off", ignore_case = true)]
    pub(crate) tier: Tier,

    /// How many units the hub has: they multiply the limits of its tier
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) units: u16,

    /// Take a token for this long after its end, such as 5m [default: not at all]
    #[arg(long, value_name = "TIME")]
    pub(crate) clock_skew: Option<Span>,

    /// Drop a connection or link this long after the end of its token [default: 5m]
    #[arg(long, value_name = "TIME")]
    pub(crate) token_grace: Option<Span>,

    /// How to write
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// Print the identities and twins of a hub, as emulator run --seed reads them.
///
/// A line is a JSON object, in the form of the service's own export jobs (ExportImportDevice): id, moduleId, eTag, status,
/// authentication, and of a twin that was ever changed its tags and properties. A device stands before its modules. The
/// lines hold the keys, unless --exclude-keys is given.
///
/// A hub that runs is asked; a state directory that no hub uses is read.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  iothub emulator export > devices.txt
  iothub emulator run --seed devices.txt")]
pub(crate) struct Export {
    /// The hub of this state directory, whether it runs or not [default: the one that runs without]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Write null for each key; who is registered from such a line gets new keys
    #[arg(long)]
    pub(crate) exclude_keys: bool,
}

/// What a hub limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tier {
    /// Nothing
    #[value(name = "off")]
    Off,
    /// Free: 8,000 messages of 0.5 KB a day
    #[value(name = "F1")]
    F1,
    /// 400,000 messages of 4 KB a day and unit
    #[value(name = "S1")]
    S1,
    /// 6,000,000 messages of 4 KB a day and unit
    #[value(name = "S2")]
    S2,
    /// 300,000,000 messages of 4 KB a day and unit
    #[value(name = "S3")]
    S3,
}

/// As in the post that all this began with.
pub(crate) const DEFAULT_HUB: &str = "tcontehub";
pub(crate) const DEFAULT_DEVICE: &str = "myFirstDevice";
