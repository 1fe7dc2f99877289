extension LineLayouts {
    /// Makes the rows.
    struct Builder {
        private let line: UnsafeRawBufferPointer
        private var place: Int
        private var segmentStart: Int
        private var lows: [UInt8] = []
        private var ranges: [UInt8] = []
        private var rows: [UInt8] = []
        private var segments: [Segment] = []
        private var taps: [Tap] = []
        private var firstTap = 0
        /// Which of the parts that vary is next.
        private var part = 0
        private var parts = 0

        init(_ line: UnsafeRawBufferPointer, _ start: Int) {
            self.line = line
            place = start
            segmentStart = start
        }

        mutating func build(_ form: inout Form, hits: Int) -> Layout? {
            let varying = form.parts.count { if case .literal = $0 { false } else { true } }
            let isNew = form.lengths.count != varying
            if isNew {
                form.lengths = Array(repeating: 0, count: varying)
                form.changes = Array(repeating: 0, count: varying)
                form.isVarying = Array(repeating: false, count: varying)
            }
            for next in form.parts {
                switch next {
                case .literal(let range):
                    guard place + range.count <= line.count else { return nil }
                    lows += line[place..<(place + range.count)]
                    ranges += repeatElement(0, count: range.count)
                    place += range.count
                case .digits(let role):
                    let action: Action =
                        role >= 0 ? .number : role == LineTemplates.identifierRole ? .integerIdentifier : .nothing
                    digits(.digits, action, &form, isNew: isNew, hits: hits)
                case .fraction(let role):
                    digits(.fraction, role >= 0 ? .fraction : .nothing, &form, isNew: isNew, hits: hits)
                case .text: text(&form, isNew: isNew, hits: hits)
                }
            }
            guard place == line.count else { return nil }
            parts = form.parts.count
            close(.line, .nothing)
            return layout
        }

        private var layout: Layout {
            let segments = UnsafeMutablePointer<Segment>.allocate(capacity: max(self.segments.count, 1))
            segments.initialize(from: self.segments, count: self.segments.count)
            let taps = UnsafeMutablePointer<Tap>.allocate(capacity: max(self.taps.count, 1))
            taps.initialize(from: self.taps, count: self.taps.count)
            let rows = UnsafeMutableRawPointer.allocate(byteCount: self.rows.count, alignment: 16)
            rows.copyMemory(from: self.rows, byteCount: self.rows.count)
            let bytes =
                self.rows.count + parts * MemoryLayout<LineTemplate.Part>.stride + self.segments.count
                * MemoryLayout<Segment>.stride
                + self.taps.count * MemoryLayout<Tap>.stride
            return Layout(
                shape: -1, segments: segments, taps: taps, rows: rows,
                bytes: bytes)
        }

        private mutating func digits(_ kind: End, _ action: Action, _ form: inout Form, isNew: Bool, hits: Int) {
            var end = place
            while end < line.count, line[end] &- UInt8(ascii: "0") < 10 { end += 1 }
            let count = end - place
            if isNew {
                form.isVarying[part] = form.lengths.count > LineLayouts.maximumSteady && count > 1
            } else if form.lengths[part] != count {
                change(&form, hits)
            }
            form.lengths[part] = count
            if form.isVarying[part] {
                close(kind, action)
                place = end
                segmentStart = end
            } else {
                if action != .nothing {
                    taps.append(Tap(offset: Int32(place - segmentStart), count: Int32(count), action: action))
                }
                let isWhole = kind == .digits && count > 1
                lows.append(UInt8(ascii: isWhole ? "1" : "0"))
                ranges.append(isWhole ? 8 : 9)
                lows += repeatElement(UInt8(ascii: "0"), count: count - 1)
                ranges += repeatElement(9, count: count - 1)
                place = end
            }
            part += 1
        }

        /// An id's characters stay, but for its digits.
        private mutating func text(_ form: inout Form, isNew: Bool, hits: Int) {
            let text = Array(line[place...].prefix { $0 != UInt8(ascii: "\"") })
            func low(_ byte: UInt8) -> UInt8 { byte &- UInt8(ascii: "0") < 10 ? UInt8(ascii: "0") : byte }
            if !isNew, text.map(low) != form.text.map(low) { change(&form, hits) }
            form.text = text
            form.lengths[part] = text.count
            if form.isVarying[part] {
                close(.text, .identifier)
                place += text.count
                segmentStart = place
            } else {
                taps.append(
                    Tap(offset: Int32(place - segmentStart), count: Int32(text.count), action: .identifier))
                lows += text.map(low)
                ranges += text.map { $0 &- UInt8(ascii: "0") < 10 ? 9 : 0 }
                place += text.count
            }
            part += 1
        }

        /// The part is not as it was. Some grow a digit now and then, others change all the time.
        private mutating func change(_ form: inout Form, _ hits: Int) {
            form.changes[part] += 1
            let changes = form.changes[part]
            if form.lengths.count > LineLayouts.maximumSteady || changes >= 2 && changes * 1024 > hits {
                form.isVarying[part] = true
            }
        }

        private mutating func close(_ end: End, _ action: Action) {
            let length = lows.count
            let rowCount = (length + LineLayouts.row - 1) / LineLayouts.row
            lows += repeatElement(0, count: rowCount * LineLayouts.row - length)
            ranges += repeatElement(.max, count: rowCount * LineLayouts.row - length)
            segments.append(
                Segment(
                    rows: rows.count, rowCount: rowCount, length: length, firstTap: Int32(firstTap),
                    tapCount: Int32(taps.count - firstTap), end: end, action: action))
            for row in 0..<rowCount {
                rows += lows[(row * LineLayouts.row)..<((row + 1) * LineLayouts.row)]
                rows += ranges[(row * LineLayouts.row)..<((row + 1) * LineLayouts.row)]
            }
            lows.removeAll(keepingCapacity: true)
            ranges.removeAll(keepingCapacity: true)
            firstTap = taps.count
        }
    }
}
