//! Priorities in the headers of requests.

use std::convert::Infallible;

use ::http::{HeaderMap, HeaderName, Request};
use sfv::{
    BareItemFromInput, KeyRef, Parser,
    visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor},
};

use super::RequestExtensions;
use crate::call::{Priority, PrioritySource};

/// Reads the priority of a request from a header: `priority` (RFC 9218), or a header with words.
///
/// | `priority` | word | priority |
/// |---|---|---|
/// | `u=0` | `critical` | [`Critical`](Priority::Critical) |
/// | `u=1`, `u=2` | `high` | [`High`](Priority::High) |
/// | `u=3` | `normal` | [`Normal`](Priority::Normal) |
/// | `u=4` to `u=7` | `low` | [`Low`](Priority::Low) |
///
/// A client may only lower its request, to `Low`. Any other value leaves the [`base`](Self::base): browsers send urgencies
/// that rank their own requests, and a client that asks for more than others would get it.
/// [`trusted`](Self::trusted) changes that. A header that is no valid priority has no effect.
///
/// ```
/// use ::http::Request;
/// use tower_reliability::{
///     Priority, concurrency_limit::ConcurrencyLimitConfig, http::PriorityHeader,
/// };
///
/// let by_path = |request: &Request<String>| match request.uri().path() {
///     "/pay" => Priority::Critical,
///     _ => Priority::Normal,
/// };
/// let limit = ConcurrencyLimitConfig::new(40)
///     .build()?
///     .priority(PriorityHeader::new().base(by_path));
/// # let _ = limit;
/// # Ok::<(), tower_reliability::ConfigError>(())
/// ```
///
/// The metadata of a gRPC request are headers, so the source works for gRPC too.
///
/// # Clone
///
/// Clones are independent values.
#[derive(Clone, Debug)]
pub struct PriorityHeader<P = RequestExtensions> {
    name: HeaderName,
    format: Format,
    is_trusted: bool,
    base: P,
}

#[derive(Clone, Copy, Debug)]
enum Format {
    Urgency,
    Word,
}

impl PriorityHeader {
    /// Reads the header `priority` of RFC 9218.
    #[must_use]
    pub const fn new() -> Self {
        Self::of(PRIORITY, Format::Urgency)
    }

    /// Reads a header with one of the words `critical`, `high`, `normal` and `low`, in any case.
    #[must_use]
    pub const fn words(name: HeaderName) -> Self {
        Self::of(name, Format::Word)
    }

    const fn of(name: HeaderName, format: Format) -> Self {
        Self { name, format, is_trusted: false, base: RequestExtensions }
    }
}

impl<P> PriorityHeader<P> {
    /// Takes the header for the priority, whatever the base is.
    ///
    /// A request without a valid header has the base. Only for servers whose clients are all your own: any client can
    /// make its requests critical. If only some clients are your own, let a middleware that knows them put a [`Priority`]
    /// into the extensions. Default: off.
    #[must_use]
    pub const fn trusted(mut self) -> Self {
        self.is_trusted = true;
        self
    }

    /// Takes the priority of a request without the header from `source`: a closure or a [`PrioritySource`].
    ///
    /// The client of a request, for the bound per client of a [queue](crate::wait_queue), comes from `source` too.
    /// Default: [`RequestExtensions`].
    pub fn base<P2>(self, source: P2) -> PriorityHeader<P2> {
        let Self { name, format, is_trusted, .. } = self;
        PriorityHeader { name, format, is_trusted, base: source }
    }

    /// The priority in the header. Of several values, the last valid one counts, as in a dictionary of RFC 9651.
    fn read(&self, headers: &HeaderMap) -> Option<Priority> {
        let of_value = match self.format {
            Format::Urgency => of_urgency,
            Format::Word => of_word,
        };
        headers.get_all(&self.name).iter().filter_map(|value| of_value(value.as_bytes())).next_back()
    }
}

impl Default for PriorityHeader {
    fn default() -> Self {
        Self::new()
    }
}

impl<B, P: PrioritySource<Request<B>>> PrioritySource<Request<B>> for PriorityHeader<P> {
    fn priority(&self, request: &Request<B>) -> Priority {
        let base = self.base.priority(request);
        match self.read(request.headers()) {
            Some(priority) if self.is_trusted || priority == Priority::Low => priority,
            _ => base,
        }
    }

    fn queue_key(&self, request: &Request<B>) -> Option<u64> {
        self.base.queue_key(request)
    }
}

/// Reads the [`Priority`] in the extensions of a request, which a middleware has put there.
impl<B> PrioritySource<Request<B>> for RequestExtensions {
    fn priority(&self, request: &Request<B>) -> Priority {
        request.extensions().get().copied().unwrap_or_default()
    }
}

/// The priority of an urgency. RFC 9218 names two: 3 is the default, and 7 is for background tasks. Chromium marks its
/// prefetches with 4.
fn of_urgency(value: &[u8]) -> Option<Priority> {
    Some(match Parser::new(value).parse_dictionary_with_visitor(Urgency::default()).ok()?? {
        0 => Priority::Critical,
        1..=2 => Priority::High,
        3 => Priority::Normal,
        4..=7 => Priority::Low,
        // RFC 9218: a parameter out of range is ignored.
        _ => return None,
    })
}

fn of_word(value: &[u8]) -> Option<Priority> {
    let word = value.trim_ascii();
    let words: [(&str, Priority); 4] = [
        ("critical", Priority::Critical),
        ("high", Priority::High),
        ("normal", Priority::Normal),
        ("low", Priority::Low),
    ];
    words
        .into_iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, priority)| priority)
}

/// Finds the member `u` of a dictionary. The last one counts, and `None` stands for a value that is no integer.
#[derive(Default)]
struct Urgency(Option<i64>);

impl<'de> DictionaryVisitor<'de> for Urgency {
    type Out = Option<i64>;
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Self::Error> {
        Ok((key.as_str() == "u").then(|| {
            self.0 = None;
            Member(&mut self.0)
        }))
    }

    fn finish(self) -> Result<Self::Out, Self::Error> {
        Ok(self.0)
    }
}

struct Member<'a>(&'a mut Option<i64>);

impl<'de> EntryVisitor<'de> for Member<'_> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Self::Error> {
        Ok(move |value: BareItemFromInput<'de>| {
            if let BareItemFromInput::Integer(urgency) = value {
                *self.0 = Some(urgency.into());
            }
            Ok::<_, Infallible>(Ignored)
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Self::Error> {
        Ok(Ignored)
    }
}

const PRIORITY: HeaderName = HeaderName::from_static("priority");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(values: &[&[u8]], base: Option<Priority>) -> Request<()> {
        let mut request = Request::new(());
        for value in values {
            let value = ::http::HeaderValue::from_bytes(value).expect("a header can carry it");
            request.headers_mut().append(PRIORITY, value);
        }
        base.map(|base| request.extensions_mut().insert(base));
        request
    }

    fn urgency(value: &str) -> Option<Priority> {
        of_urgency(value.as_bytes())
    }

    #[test]
    fn each_urgency_has_its_class() {
        let classes = (0..=7).map(|u| urgency(&format!("u={u}")).expect("it is in range"));
        assert_eq!(classes.collect::<Vec<_>>(), [0, 1, 1, 2, 3, 3, 3, 3].map(|class| Priority::ALL[class]),);
    }

    /// The fields of the RFC's own examples, and its rules for what is no urgency.
    #[test]
    fn the_examples_of_rfc_9218_are_read() {
        for (value, expected) in [
            ("u=0", Some(Priority::Critical)),
            ("u=5, i", Some(Priority::Low)),
            ("u=1, i=?0", Some(Priority::High)),
            ("i", None),
            ("", None),
            ("u=8", None),
            ("u=-1", None),
            ("u=1.0", None),
            ("u=\"1\"", None),
            ("u=(1 2)", None),
            ("u", None),
            ("u=?0", None),
        ] {
            assert_eq!(urgency(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_value_is_read_by_the_grammar_of_structured_fields() {
        for (value, expected) in [
            ("  u=6;x=\"a, u=0\"  ", Some(Priority::Low)),
            ("note=\"u=0, \", u=6", Some(Priority::Low)),
            ("u=0, u=6", Some(Priority::Low)),
            ("u=6, u=a", None),
            ("ux=0", None),
            ("U=0", None),
            ("u=0,", None),
            ("u=0 u=1", None),
            ("u=0000000000000000000000000000000001", None),
        ] {
            assert_eq!(urgency(value), expected, "{value:?}");
        }
        assert_eq!(of_urgency(&[b'u', b'=', 0xff]), None);
    }

    #[test]
    fn a_client_may_lower_its_request_and_not_raise_it() {
        let header = PriorityHeader::new();
        for base in Priority::ALL {
            for value in ["u=0", "u=2", "u=3", "i", "garbage=", "u=9"] {
                let request = request(&[value.as_bytes()], Some(base));
                assert_eq!(header.priority(&request), base, "{value:?}");
            }
            assert_eq!(header.priority(&request(&[b"u=4"], Some(base))), Priority::Low);
            assert_eq!(header.priority(&request(&[], Some(base))), base);
        }
        assert_eq!(header.priority(&request(&[b"u=0"], None)), Priority::Normal);
    }

    #[test]
    fn a_trusted_client_may_do_both() {
        let header = PriorityHeader::new().trusted();
        assert_eq!(header.priority(&request(&[b"u=0"], Some(Priority::Low))), Priority::Critical);
        assert_eq!(header.priority(&request(&[b"u=3"], Some(Priority::Critical))), Priority::Normal);
        assert_eq!(header.priority(&request(&[b"?"], Some(Priority::High))), Priority::High);
        assert_eq!(header.priority(&request(&[b"u=0", b"u=5"], None)), Priority::Low, "the last line counts");
    }

    #[test]
    fn words_are_read_in_any_case_and_the_client_comes_from_the_base() {
        struct Base;
        impl<B> PrioritySource<Request<B>> for Base {
            fn queue_key(&self, _: &Request<B>) -> Option<u64> {
                Some(7)
            }
        }
        let header = PriorityHeader::words(PRIORITY).base(Base).trusted();
        for (word, expected) in [
            ("CRITICAL", Priority::Critical),
            (" high ", Priority::High),
            ("Low", Priority::Low),
            ("lowest", Priority::Normal),
            ("u=0", Priority::Normal),
        ] {
            let request = request(&[word.as_bytes()], None);
            assert_eq!(
                (header.priority(&request), header.queue_key(&request)),
                (expected, Some(7)),
                "{word:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (of_urgency(&value), of_word(&value));
        }

        #[test]
        fn no_member_beside_the_urgency_hides_it(key in "[a-t][a-z0-9_-]{0,8}", text in "[ -~&&[^\"\\\\]]{0,16}") {
            let value = format!("{key}=\"{text}\", u=1;{key}, {key}=({key} 1)");
            prop_assert_eq!(urgency(&value), Some(Priority::High));
        }
    }
}
