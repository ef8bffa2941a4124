//! Reply codes: why a message came back, or a channel or connection is closed.

/// What an error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Soft errors end the channel.
    Channel,
    /// Hard errors end the connection.
    Connection,
}

macro_rules! reply_codes {
    ($($code:literal $variant:ident $name:literal $scope:ident)*) => {
        /// A reply code of AMQP 0-9-1, with RabbitMQ's names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub enum ReplyCode {
            $(#[doc = $name] $variant = $code,)*
        }

        impl ReplyCode {
            /// The name that starts a reply text.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What an error of this code ends; on channel 0 it is always the connection.
            pub fn scope(self) -> Scope {
                match self {
                    $(Self::$variant => Scope::$scope,)*
                }
            }
        }
    };
}

reply_codes! {
    200 ReplySuccess "REPLY_SUCCESS" Channel
    311 ContentTooLarge "CONTENT_TOO_LARGE" Channel
    312 NoRoute "NO_ROUTE" Channel
    313 NoConsumers "NO_CONSUMERS" Channel
    320 ConnectionForced "CONNECTION_FORCED" Connection
    402 InvalidPath "INVALID_PATH" Connection
    403 AccessRefused "ACCESS_REFUSED" Channel
    404 NotFound "NOT_FOUND" Channel
    405 ResourceLocked "RESOURCE_LOCKED" Channel
    406 PreconditionFailed "PRECONDITION_FAILED" Channel
    501 FrameError "FRAME_ERROR" Connection
    502 SyntaxError "SYNTAX_ERROR" Connection
    503 CommandInvalid "COMMAND_INVALID" Connection
    504 ChannelError "CHANNEL_ERROR" Connection
    505 UnexpectedFrame "UNEXPECTED_FRAME" Connection
    506 ResourceError "RESOURCE_ERROR" Connection
    530 NotAllowed "NOT_ALLOWED" Connection
    540 NotImplemented "NOT_IMPLEMENTED" Connection
    541 InternalError "INTERNAL_ERROR" Connection
}

impl ReplyCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The reply text of an error: `NAME - explanation`. One that does not fit into a short string ends in dots.
    pub fn text(self, explanation: &str) -> String {
        let mut text = format!("{} - {explanation}", self.name());
        if text.len() > 255 {
            text.truncate(text.floor_char_boundary(252));
            text += "...";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_itself() {
        let text = ReplyCode::NotFound.text("no queue 'q' in vhost '/'");
        assert_eq!(text, "NOT_FOUND - no queue 'q' in vhost '/'");
        assert_eq!(ReplyCode::NotFound.code(), 404);
        assert_eq!(ReplyCode::NotFound.scope(), Scope::Channel);
        assert_eq!(ReplyCode::NotAllowed.scope(), Scope::Connection);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        // "NOT_FOUND - " has 12 octets, so that the boundary of the 253rd falls between two characters.
        let text = ReplyCode::NotFound.text(&"é".repeat(200));
        assert_eq!(text.len(), 255);
        assert!(text.ends_with("é..."));
        let text = ReplyCode::NotFound.text(&format!("e{}", "é".repeat(200)));
        assert_eq!(text.len(), 254);
        assert_eq!(ReplyCode::NotFound.text(&"e".repeat(243)).len(), 255);
        assert!(!ReplyCode::NotFound.text(&"e".repeat(243)).ends_with('.'));
    }
}
