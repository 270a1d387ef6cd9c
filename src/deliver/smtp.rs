//! One mail to one mailbox by SMTP: STARTTLS (or TLS from the start on port 465), AUTH PLAIN or LOGIN, every answer
//! bounded. The words of a mail server are read here and not by lettre, whose client keeps what came before TLS and reads
//! a line however long it is.

use super::{
    connect::{Connector, Wire},
    error::TellError,
    post::Answer,
    settings::Mail,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use lettre::message::Mailbox;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes of one answer of a mail server.
pub const MAX_REPLY: usize = 16 << 10;

/// Bytes that are read at once.
const READ_STEP: usize = 1024;

/// Where TLS begins with the connection.
const SUBMISSIONS: u16 = 465;

/// An answer: its code, and what came after it, line by line.
struct Reply {
    code: u16,
    lines: Vec<String>,
}

/// Sends a mail; `password` goes with the user of `mail.login`, and only ever over TLS. The caller sets the deadline.
pub(super) async fn send(
    connector: &Connector,
    mail: &Mail,
    password: Option<&str>,
    to: &Mailbox,
    message: &[u8],
) -> Result<Answer, TellError> {
    let (host, port) = &mail.smarthost;
    let wire = connector.open(host, *port).await?;
    let (wire, mut secure) =
        if *port == SUBMISSIONS { (connector.secure(wire, host).await?, true) } else { (wire, false) };
    let mut session = Session { wire, unread: Vec::new() };
    session.expect("the connection", 220).await?;
    let mut offers = session.hello(&mail.hello).await?;
    if !secure && offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS")) {
        session.command("STARTTLS", "STARTTLS", 220).await?;
        if !session.unread.is_empty() {
            // Somebody on the way puts words into its mouth (CVE-2011-0411).
            return Err(TellError::MailServer("spoke before TLS began"));
        }
        session.wire = connector.secure(session.wire, host).await?;
        secure = true;
        offers = session.hello(&mail.hello).await?;
    }
    if !secure && mail.require_tls {
        return Err(TellError::MailServer("offers no TLS (and require_tls is not false)"));
    }
    if let (Some((user, _)), Some(password)) = (&mail.login, password) {
        if !secure {
            return Err(TellError::MailServer("offers no TLS, without which no password is sent"));
        }
        session.log_in(&offers, user, password).await?;
    }
    session.command(&format!("MAIL FROM:<{}>", mail.from.email), "MAIL", 250).await?;
    session.command(&format!("RCPT TO:<{}>", to.email), "RCPT", 250).await?;
    session.command("DATA", "DATA", 354).await?;
    session.say(&stuffed(message)).await?;
    let taken = session.expect("the text", 250).await?;
    // It is told, whatever becomes of the farewell.
    let _ = session.say(b"QUIT\r\n").await;
    Ok(Answer { status: taken.code.to_string(), text: taken.lines.join(" ") })
}

/// A message as it is sent: a line that begins with a dot has one more, and a dot ends it all.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut begins = true;
    for byte in message {
        if begins && *byte == b'.' {
            out.push(b'.');
        }
        out.push(*byte);
        begins = *byte == b'\n';
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

struct Session {
    wire: Box<dyn Wire>,
    /// What came and is no answer yet.
    unread: Vec<u8>,
}

impl Session {
    /// Greets; what the server offers.
    async fn hello(&mut self, name: &str) -> Result<Vec<String>, TellError> {
        let reply = self.command(&format!("EHLO {name}"), "EHLO", 250).await?;
        Ok(reply.lines.into_iter().skip(1).collect())
    }

    async fn log_in(&mut self, offers: &[String], user: &str, password: &str) -> Result<(), TellError> {
        let offered = |wanted: &str| {
            offers.iter().any(|offer| {
                let mut words = offer.split([' ', '=']);
                words.next().is_some_and(|word| word.eq_ignore_ascii_case("AUTH"))
                    && words.any(|word| word.eq_ignore_ascii_case(wanted))
            })
        };
        if offered("PLAIN") {
            let plain = STANDARD.encode(format!("\0{user}\0{password}"));
            self.command(&format!("AUTH PLAIN {plain}"), "AUTH", 235).await?;
        } else if offered("LOGIN") {
            self.command("AUTH LOGIN", "AUTH", 334).await?;
            self.command(&STANDARD.encode(user), "AUTH", 334).await?;
            self.command(&STANDARD.encode(password), "AUTH", 235).await?;
        } else {
            return Err(TellError::MailServer("offers neither AUTH PLAIN nor AUTH LOGIN"));
        }
        Ok(())
    }

    /// `step`: how the command is called in an error; what stands in it may be a secret.
    async fn command(&mut self, command: &str, step: &'static str, wanted: u16) -> Result<Reply, TellError> {
        self.say(format!("{command}\r\n").as_bytes()).await?;
        self.expect(step, wanted).await
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), TellError> {
        self.wire.write_all(bytes).await.map_err(TellError::Broken)?;
        self.wire.flush().await.map_err(TellError::Broken)
    }

    async fn expect(&mut self, step: &'static str, wanted: u16) -> Result<Reply, TellError> {
        let reply = self.reply().await?;
        // 251 and 252 are as good as 250.
        if reply.code == wanted || (wanted == 250 && matches!(reply.code, 251 | 252)) {
            return Ok(reply);
        }
        Err(TellError::Refused { code: reply.code, step, answer: reply.lines.join(" ") })
    }

    async fn reply(&mut self) -> Result<Reply, TellError> {
        let mut lines = Vec::new();
        let mut size = 0usize;
        loop {
            let line = self.line(MAX_REPLY.saturating_sub(size)).await?;
            size = size.saturating_add(line.len());
            let (code, rest) = line.split_at_checked(3).ok_or(TellError::MailServer("does not speak SMTP"))?;
            let code = code.parse().map_err(|_| TellError::MailServer("does not speak SMTP"))?;
            let last = !rest.starts_with('-');
            lines.push(rest.get(1..).unwrap_or_default().trim_end().to_owned());
            if last {
                return Ok(Reply { code, lines });
            }
        }
    }

    /// A line of at most `most` bytes, with its end.
    async fn line(&mut self, most: usize) -> Result<String, TellError> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n').filter(|end| *end < most) {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.unread.len() >= most {
                return Err(TellError::MailServer("answers without end"));
            }
            let mut bytes = [0; READ_STEP];
            let count = self.wire.read(&mut bytes).await.map_err(TellError::Broken)?;
            if count == 0 {
                return Err(TellError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
            self.unread.extend(bytes.iter().take(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_begins_with_a_dot_does_not_end_the_mail() {
        assert_eq!(stuffed(b"a\r\n.\r\n..b\r\n"), b"a\r\n..\r\n...b\r\n.\r\n");
        assert_eq!(stuffed(b".a"), b"..a\r\n.\r\n");
    }
}
