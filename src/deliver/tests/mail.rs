//! A mail server that is good, one that is not, and somebody on the way.

use super::{
    hostile::{acceptor, listening, trusting},
    *,
};
use crate::deliver::{
    Mail, Wording,
    connect::{Connector, Reach},
    error::TellError,
    smtp,
};
use std::sync::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};

/// What a mail server of these tests does.
#[derive(Clone, Copy)]
struct Manners {
    offers: &'static str,
    /// Said in one breath with the answer to STARTTLS.
    injects: &'static str,
    password: &'static str,
    to_rcpt: &'static str,
    to_text: &'static str,
}

const GOOD: Manners = Manners {
    offers: "AUTH PLAIN LOGIN",
    injects: "",
    password: "hunter2",
    to_rcpt: "250 ok",
    to_text: "250 2.0.0 kept as 4711",
};

/// Commands and the text that a server heard; what came by TLS begins with `tls `.
type Heard = Arc<Mutex<Vec<String>>>;

async fn server(tasks: &Tasks, manners: Manners, tls: bool) -> (u16, Heard) {
    let heard = Heard::default();
    let kept = Arc::clone(&heard);
    let acceptor = acceptor(false);
    let port = listening(tasks, move |mut stream| {
        let (acceptor, kept) = (acceptor.clone(), Arc::clone(&kept));
        async move {
            stream.write_all(b"220-good day\r\n220 mail.test\r\n").await.unwrap();
            let starts = talk(&mut stream, manners, tls, "", &kept).await;
            if starts && let Ok(mut stream) = acceptor.accept(stream).await {
                talk(&mut stream, manners, false, "tls ", &kept).await;
            }
        }
    });
    (port.await, heard)
}

/// True: TLS is to begin.
async fn talk(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    manners: Manners,
    offers_tls: bool,
    mark: &str,
    heard: &Mutex<Vec<String>>,
) -> bool {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return false;
        }
        heard.lock().unwrap().push(format!("{mark}{}", line.trim_end()));
        let word = line.split([' ', '\r']).next().unwrap().to_owned();
        let reply = match word.as_str() {
            "EHLO" if offers_tls => "250-mail.test\r\n250-SIZE 1000000\r\n250 STARTTLS".to_owned(),
            "EHLO" => format!("250-mail.test\r\n250-SIZE 1000000\r\n250 {}", manners.offers),
            "STARTTLS" => {
                let reply = format!("220 go ahead\r\n{}", manners.injects);
                stream.write_all(reply.as_bytes()).await.unwrap();
                return true;
            }
            "AUTH" => {
                let good = STANDARD.encode(format!("\0warden\0{}", manners.password));
                let (user, password) = (STANDARD.encode("warden"), STANDARD.encode(manners.password));
                if line.trim_end() == "AUTH LOGIN" {
                    let mut same = true;
                    for want in [user, password] {
                        stream.write_all(b"334 VXNlcm5hbWU6\r\n").await.unwrap();
                        line.clear();
                        stream.read_line(&mut line).await.unwrap();
                        same &= line.trim_end() == want;
                    }
                    if same { "235 welcome".to_owned() } else { "535 who are you".to_owned() }
                } else if line.trim_end() == format!("AUTH PLAIN {good}") {
                    "235 welcome".to_owned()
                } else {
                    "535 who are you".to_owned()
                }
            }
            "RCPT" => manners.to_rcpt.to_owned(),
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    assert!(stream.read_line(&mut text).await.unwrap() > 0, "the text breaks off: {text}");
                }
                heard.lock().unwrap().push(text);
                manners.to_text.to_owned()
            }
            "QUIT" => return false,
            _ => "250 ok".to_owned(),
        };
        stream.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

fn mail(port: u16) -> Mail {
    Mail {
        smarthost: ("localhost".into(), port),
        from: "Warden <warden@example.org>".parse().unwrap(),
        to: vec!["ops@example.org".parse().unwrap(), "dev@example.org".parse().unwrap()],
        hello: "agent.example.org".into(),
        login: Some(("warden".into(), Secret::Inline("hunter2".into()))),
        require_tls: true,
        wording: Wording::default(),
        html: None,
    }
}

async fn send(mail: &Mail, text: &str) -> Result<post::Answer, TellError> {
    let password = mail.login.as_ref().map(|_| "hunter2");
    let connector = Connector::new(trusting());
    let sent = smtp::send(&connector, mail, password, &mail.to[0], text.as_bytes());
    tokio::time::timeout(Duration::from_secs(10), sent).await.expect("no end of it")
}

fn words(heard: &Heard) -> Vec<String> {
    let heard = heard.lock().unwrap();
    heard.iter().map(|line| line.split(['\r', '\n']).next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_mail_goes_by_starttls_with_a_password() {
    let world = World::new();
    let (port, heard) = server(&world.listeners, GOOD, true).await;
    let answer = send(&mail(port), "Subject: a\r\n\r\n.\r\n.b\r\n").await.unwrap();
    assert_eq!((answer.status.as_str(), answer.text.as_str()), ("250", "2.0.0 kept as 4711"));
    let plain = "tls AUTH PLAIN AHdhcmRlbgBodW50ZXIy";
    let want = [
        "EHLO agent.example.org",
        "STARTTLS",
        "tls EHLO agent.example.org",
        plain,
        "tls MAIL FROM:<warden@example.org>",
        "tls RCPT TO:<ops@example.org>",
        "tls DATA",
        "Subject: a",
    ];
    assert_eq!(words(&heard)[..8], want);
    assert_eq!(heard.lock().unwrap()[7], "Subject: a\r\n\r\n..\r\n..b\r\n.\r\n");

    let login = Manners { offers: "AUTH=LOGIN", ..GOOD };
    let (port, heard) = server(&world.listeners, login, true).await;
    send(&mail(port), "a").await.unwrap();
    assert!(words(&heard).contains(&"tls AUTH LOGIN".to_owned()));
    world.stop().await;
}

#[tokio::test]
async fn without_tls_neither_mail_nor_password_is_sent() {
    let world = World::new();
    let (port, heard) = server(&world.listeners, GOOD, false).await;
    let error = send(&mail(port), "a").await.unwrap_err();
    assert!(error.to_string().contains("offers no TLS") && !error.is_final(), "{error}");
    let error = send(&Mail { require_tls: false, ..mail(port) }, "a").await.unwrap_err();
    assert!(error.to_string().contains("no password is sent"), "{error}");
    assert_eq!(words(&heard), ["EHLO agent.example.org", "EHLO agent.example.org"]);
    send(&Mail { require_tls: false, login: None, ..mail(port) }, "a").await.unwrap();
    assert!(words(&heard).contains(&"DATA".to_owned()));
    world.stop().await;
}

#[tokio::test]
async fn words_that_came_before_tls_are_not_taken_for_the_servers() {
    let world = World::new();
    let injects = Manners { injects: "250 AUTH PLAIN\r\n", ..GOOD };
    let (port, heard) = server(&world.listeners, injects, true).await;
    let error = send(&mail(port), "a").await.unwrap_err();
    assert!(error.to_string().contains("before TLS"), "{error}");
    assert_eq!(words(&heard), ["EHLO agent.example.org", "STARTTLS"]);
    // A certificate of somebody else.
    let (port, heard) = server(&world.listeners, GOOD, true).await;
    let stranger = Connector::new(Reach::default());
    let to = &mail(port).to[0];
    let error = smtp::send(&stranger, &mail(port), Some("hunter2"), to, b"a").await.unwrap_err();
    assert!(error.chain().contains("certificate"), "{}", error.chain());
    assert_eq!(words(&heard), ["EHLO agent.example.org", "STARTTLS"]);
    world.stop().await;
}

#[tokio::test]
async fn what_passes_is_told_apart_from_what_does_not() {
    let world = World::new();
    let cases = [
        (Manners { to_rcpt: "450 greylisted", ..GOOD }, false, false, "450 to RCPT"),
        (Manners { to_rcpt: "550 no such user", ..GOOD }, true, false, "550 to RCPT"),
        (Manners { to_text: "451 try later", ..GOOD }, false, false, "451 to the text"),
        (Manners { to_text: "554 spam", ..GOOD }, true, true, "554 to the text"),
        (Manners { to_text: "552 too large", ..GOOD }, true, true, "552 to the text"),
        // A password may be on its way to its file.
        (Manners { password: "other", ..GOOD }, false, false, "535 to AUTH"),
        (Manners { offers: "AUTH GSSAPI", ..GOOD }, false, false, "neither AUTH PLAIN"),
    ];
    for (manners, is_final, blames, part) in cases {
        let (port, _) = server(&world.listeners, manners, true).await;
        let error = send(&mail(port), "a").await.unwrap_err();
        assert_eq!((error.is_final(), error.blames_content()), (is_final, blames), "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_server_that_babbles_or_breaks_off_is_given_up() {
    let world = World::new();
    for (words, part) in [
        ("x", "answers without end"),
        ("220-again\r\n", "answers without end"),
        ("what?\r\n", "does not speak SMTP"),
        ("\r\n", "does not speak SMTP"),
    ] {
        let port = listening(&world.listeners, move |mut stream| async move {
            let words = words.repeat(1000);
            while stream.write_all(words.as_bytes()).await.is_ok() {}
        });
        let error = send(&mail(port.await), "a").await.unwrap_err();
        assert!(error.to_string().contains(part) && !error.is_final(), "{words:?}: {error}");
    }
    let port = listening(&world.listeners, |stream| async move { drop(stream) });
    assert!(matches!(send(&mail(port.await), "a").await, Err(TellError::Broken(_))));
    world.stop().await;
}

#[tokio::test]
async fn each_mailbox_gets_its_mail_or_is_tried_again_by_itself() {
    let world = World::new();
    let (port, heard) = server(&world.listeners, GOOD, true).await;
    let config = Config { reach: trusting(), ..Config::new("mail".into(), Kind::Email(Box::new(mail(port)))) };
    let (_handle, tell) = world.start_all(vec![config], timing());
    tell.send(vec![fires("A"), fires("A2")]).await.unwrap();
    world.until("mail", "sent", 4.0).await;
    let heard = heard.lock().unwrap().clone();
    let recipients = |to: &str| heard.iter().filter(|line| **line == format!("tls RCPT TO:<{to}>")).count();
    assert_eq!((recipients("ops@example.org"), recipients("dev@example.org")), (2, 2));
    let text = heard.iter().find(|line| line.contains("Subject: [FIRING] A:")).expect("a subject");
    assert!(text.contains("To: ops@example.org") || text.contains("To: dev@example.org"), "{text}");
    world.stop().await;
}
