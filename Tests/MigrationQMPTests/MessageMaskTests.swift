import MigrationQMP
import Testing

@Suite struct MessageMaskTests {
    private static func masked(_ text: String) -> String? {
        MessageMask.masked(command: Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test(
        arguments: [
            (
                #"{"execute": "object-add", "arguments": {"qom-type": "secret", "id": "s", "data": "hunter2"}, "id": 1}"#,
                #"{"execute": "object-add", "arguments": {"qom-type": "secret", "id": "s", "data": "***"}, "id": 1}"#
            ),
            (
                #"{"execute":"set_password","arguments":{"protocol":"vnc","password":"a\"}b"}}"#,
                #"{"execute":"set_password","arguments":{"protocol":"vnc","password":"***"}}"#
            ),
            (
                #"{"execute":"object-add","arguments":{"props":{"\u0064ata":"x" , "format":"raw"}}}"#,
                #"{"execute":"object-add","arguments":{"props":{"\u0064ata":"***" , "format":"raw"}}}"#
            ),
            (
                #"{"execute":"send-key","arguments":{"keys":[{"type":"number","data":30},{"type":"qcode","data":"a"}]}}"#,
                #"{"execute":"send-key","arguments":{"keys":[{"type":"number","data":"***"},{"type":"qcode","data":"***"}]}}"#
            ),
            (
                #"{"execute":"qom-set","arguments":{"path":"/objects/s","value":"x","property":"password"}}"#,
                #"{"execute":"qom-set","arguments":{"path":"/objects/s","value":"***","property":"password"}}"#
            ),
            (
                #"{"execute":"blockdev-add","arguments":{"url":"https://me:pass@host/x"}}"#,
                #"{"execute":"blockdev-add","arguments":{"url":"https://me:***@host/x"}}"#
            ),
            (
                #"{"execute":"human-monitor-command","arguments":{"command-line":"set_password vnc hunter2"}}"#,
                #"{"execute":"human-monitor-command","arguments":{"command-line":"set_password ***"}}"#
            ),
            (
                #"{"execute":"change","arguments":{"device":"vnc","target":"password","arg":"hunter2"}}"#,
                #"{"execute":"change","arguments":{"device":"vnc","target":"password","arg":"***"}}"#
            ),
        ])
    func hidesSecretsAndNothingElse(_ text: String, _ expected: String) { #expect(Self.masked(text) == expected) }

    @Test(
        arguments: [
            #"{"execute":"migrate","arguments":{"uri":"tcp:[::1]:4444"},"id":"data"}"#,
            #"{"execute":"query-status"}"#, #"{"execute":"qom-set","arguments":{"property":"size","value":1}}"#,
            #"{"execute":"human-monitor-command","arguments":{"command-line":"info status"}}"#,
            #"{"execute":"migrate-set-parameters","arguments":{"max-bandwidth":-1.5e3,"tls-creds":"t"}}"#,
        ])
    func leavesTheRestAlone(_ text: String) { #expect(Self.masked(text) == nil) }

    @Test func whatQEMUSays() {
        func masked(_ text: String, _ isSecret: Bool = false) -> String? {
            MessageMask.masked(message: Array(text.utf8), isSecret: isSecret).map {
                String(decoding: $0, as: UTF8.self)
            }
        }
        #expect(masked(#"{"return": "hunter2", "id": 1}"#, true) == #"{"return": "***", "id": 1}"#)
        #expect(masked(#"{"return": [{"file": "nbd://u:p@h/x"}]}"#) == #"{"return": [{"file": "nbd://u:***@h/x"}]}"#)
        #expect(masked(#"{"event": "X", "data": {"data": "kept", "user": "a@b"}}"#) == nil)
    }
}
