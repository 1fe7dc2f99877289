/// The program's version.
public enum Version {
    /// Changed when a release is made.
    public static let current = "0.1.0"
}
