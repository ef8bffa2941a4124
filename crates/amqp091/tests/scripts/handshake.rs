//! From the protocol header to an open connection, and every way not to get there.

use leveret_broker::options::Options;

use crate::world::{World, check};

#[test]
fn a_client_logs_in() {
    check(
        "
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok guest guest
          a connection.tune 2047 131072 60
        a tune-ok
        a open /
          a connection.open-ok
        a channel
          a channel.open-ok
        a bye
          a connection.close-ok
        ",
    );
}

#[test]
fn one_octet_at_a_time_is_enough() {
    check(
        "
        a connects
        a drips header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a drips start-ok guest guest
          a connection.tune 2047 131072 60
        a drips tune-ok
        a drips open /
          a connection.open-ok
        a drips channel
          a channel.open-ok
        a drips queue q durable
          a queue.declare-ok q 0 0
        a drips publish - q hello persistent
        a drips get q
          a get-ok #1 - q left=0 hello
        ",
    );
}

/// A client may say all it has to say before it hears anything.
#[test]
fn a_hasty_client_is_served() {
    check(
        "
        a connects
        a header &
        a start-ok guest guest &
        a tune-ok &
        a open / &
        a channel &
        a queue q exclusive
          a connection.start ANONYMOUS AMQPLAIN PLAIN
          a connection.tune 2047 131072 60
          a connection.open-ok
          a channel.open-ok
          a queue.declare-ok q 0 0
        ",
    );
}

#[test]
fn another_protocol_is_told_ours() {
    check(
        "
        a connects
        a bytes 41 4d 51 50 03 01 00 00
          a header [0, 0, 9, 1]
          a closed
        b connects
        b bytes 47 45 54 20 2f 20 48 54
          b header [3, 1, 0, 0]
          b closed
        ",
    );
}

/// Before the login a fault is answered with silence, so that probing is slow.
#[test]
fn methods_in_the_wrong_order_are_met_with_silence() {
    check(
        "
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a tune-ok
        a start-ok guest guest
        time 2999
        time 1
          a closed
        b connects
        b header
          b connection.start ANONYMOUS AMQPLAIN PLAIN
        b start-ok guest guest
          b connection.tune 2047 131072 60
        b open /
        b bye
        time 3000
          b closed
        c connects
        c header
          c connection.start ANONYMOUS AMQPLAIN PLAIN
        c channel
        time 3000
          c closed
        ",
    );
}

#[test]
fn methods_before_the_vhost_is_open_are_an_error() {
    check(
        "
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok guest guest
          a connection.tune 2047 131072 60
        a tune-ok
        a channel
          a connection.close 505 UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>> 0.0
        a bye-ok
          a closed
        ",
    );
}

#[test]
fn a_handshake_has_ten_seconds() {
    check(
        "
        a connects
        time 9999
        time 1
          a closed
        b connects
        b header
          b connection.start ANONYMOUS AMQPLAIN PLAIN
        b start-ok guest guest
          b connection.tune 2047 131072 60
        b tune-ok
        time 9999
        time 1
          b closed
        c connect
        time 1000000
        c queue q
          c queue.declare-ok q 0 0
        ",
    );
}

#[test]
fn limits_out_of_range_are_refused() {
    check(
        "
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok guest guest
          a connection.tune 2047 131072 60
        a tune-ok frame_max=4095
          a connection.close 530 NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value (4096) 0.0
        a bye-ok
          a closed
        b connects
        b header
          b connection.start ANONYMOUS AMQPLAIN PLAIN
        b start-ok guest guest
          b connection.tune 2047 131072 60
        b tune-ok frame_max=131073
          b connection.close 530 NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value (131072) 0.0
        b bye-ok
          b closed
        c connects
        c header
          c connection.start ANONYMOUS AMQPLAIN PLAIN
        c start-ok guest guest
          c connection.tune 2047 131072 60
        c tune-ok channel_max=2048
          c connection.close 530 NOT_ALLOWED - negotiated channel_max = 2048 is higher than the maximum allowed value (2047) 0.0
        c bye-ok
          c closed
        d connect channel_max=0 frame_max=0
        d.2047 channel
          d.2047 channel.open-ok
        e connect channel_max=2
        e.2 channel
          e.2 channel.open-ok
        e.3 channel
          e connection.close 530 NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2) 0.0
        ",
    );
}

#[test]
fn a_refused_login_is_told_to_those_who_understand_it() {
    check(
        "
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok guest wrong
        time 2999
        time 1
          a closed
        b connects
        b header
          b connection.start ANONYMOUS AMQPLAIN PLAIN
        b start-ok guest wrong authentication_failure_close
          b connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. 0.0
        b bye-ok
          b closed
        c connects
        c header
          c connection.start ANONYMOUS AMQPLAIN PLAIN
        c start-ok nobody nobody authentication_failure_close
          c connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. 0.0
        time 29999
        time 1
          c closed
        d connects
        d header
          d connection.start ANONYMOUS AMQPLAIN PLAIN
        d start-ok guest guest mechanism=EXTERNAL authentication_failure_close
        time 3000
          d closed
        ",
    );
}

#[test]
fn guest_may_only_log_in_from_this_machine() {
    check(
        "
        user bob
        allow bob / .* .* .*
        a connects from 192.0.2.1:4000
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok guest guest authentication_failure_close
          a connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. 0.0
        a bye-ok
          a closed
        b connects from 192.0.2.1:4000
        b header
          b connection.start ANONYMOUS AMQPLAIN PLAIN
        b start-ok bob bob
          b connection.tune 2047 131072 60
        b tune-ok
        b open /
          b connection.open-ok
        ",
    );
}

#[test]
fn a_vhost_must_be_there_and_allowed() {
    check(
        "
        user bob
        vhost other
        a connects
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN
        a start-ok bob bob
          a connection.tune 2047 131072 60
        a tune-ok
        a open /
          a connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'bob' 10.40
        a bye-ok
          a closed
        b connects
        b header
          b connection.start ANONYMOUS AMQPLAIN PLAIN
        b start-ok guest guest
          b connection.tune 2047 131072 60
        b tune-ok
        b open nowhere
          b connection.close 530 NOT_ALLOWED - vhost nowhere not found 10.40
        b bye-ok
          b closed
        allow bob other - - -
        c connect as bob to other
        c queue q
          c channel.close 403 ACCESS_REFUSED - configure access to queue 'q' in vhost 'other' refused for user 'bob' 50.10
        ",
    );
}

#[test]
fn an_unknown_method_of_the_connection_waits_for_the_answer() {
    check(
        "
        a connect
        a bytes 01 00 00 00 00 00 04 00 0a 00 63 ce
          a connection.close 503 COMMAND_INVALID - unimplemented method 10.99
        a bye-ok
          a closed
        b connect
        b bytes 08 00 01 00 00 00 00 ce
          b connection.close 505 UNEXPECTED_FRAME - type 8, all octets = <<>> 0.0
        b bye-ok
          b closed
        ",
    );
}

#[test]
fn behind_a_broken_frame_nothing_is_read() {
    check(
        "
        a connect
        a bytes 01 00 01 00 00 00 04 00 14 00 0a cd
          a connection.close 501 FRAME_ERROR - type 1, all octets = <<0,20,0,10>>: {invalid_frame_end_marker,205} 0.0
        a bye-ok
        time 3000
          a closed
        b connect
        b bytes 03 00 01 7f ff ff ff
          b connection.close 501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,2147483647,131064} 0.0
        time 3000
          b closed
        c connect
        c bytes 07 00 01 00 00 00 00 ce
          c connection.close 501 FRAME_ERROR - type 7, all octets = <<>>: unknown_frame 0.0
        time 3000
          c closed
        ",
    );
}

/// E11: EXTERNAL is for those who have shown a certificate, and logs in whom it names, whatever the response says.
#[test]
fn a_certificate_logs_its_user_in() {
    check(
        "
        user alice
        allow alice / .* .* .*
        a connects certified alice
        a header
          a connection.start ANONYMOUS AMQPLAIN PLAIN EXTERNAL
        a start-ok guest guest mechanism=EXTERNAL
          a connection.tune 2047 131072 60
        a tune-ok
        a open /
          a connection.open-ok
        a channel
          a channel.open-ok
        a publish amq.fanout - hello user-id=alice
        b connects certified nobody
        b header
          b connection.start ANONYMOUS AMQPLAIN PLAIN EXTERNAL
        b start-ok guest guest mechanism=EXTERNAL authentication_failure_close
          b connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL. For details see the broker logfile. 0.0
        c connects
        c header
          c connection.start ANONYMOUS AMQPLAIN PLAIN
        c start-ok guest guest mechanism=EXTERNAL
        time 3000
          c closed
        ",
    );
}

#[test]
fn anonymous_clients_are_a_user_with_the_configured_password() {
    let check = |pass: &str, expected| {
        let mut options = Options::new(|| 7);
        options.anonymous_pass = pass.into();
        let world = World::with(options);
        assert_eq!(world.broker().anonymous(true).is_some(), expected, "{pass}");
    };
    check("guest", true);
    check("other", false);
}
