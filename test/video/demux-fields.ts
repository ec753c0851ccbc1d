/**
 * A very small H.264 stream coded in fields (PAFF), each in a packet of its own, for no encoder at hand makes one.
 * 16x32, every macroblock I_PCM: what a field shows is known to the byte.
 */

/** A field: its access unit as Annex B. */
export interface FieldUnit {
  data: Uint8Array
  key: boolean
}

/** What each field of a frame is filled with. */
export const topLuma = (frame: number) => 20 + 3 * frame
export const bottomLuma = (frame: number) => 230 - 3 * frame
/** Every second frame is no reference. */
export const isReference = (frame: number) => frame % 2 === 0

class BitWriter {
  private readonly bits: number[] = []
  u(value: number, count: number): this {
    for (let i = count - 1; i >= 0; i--) this.bits.push((value >> i) & 1)
    return this
  }
  ue(value: number): this {
    const length = Math.floor(Math.log2(value + 1))
    return this.u(0, length).u(value + 1, length + 1)
  }
  align(bit: number): this {
    while (this.bits.length % 8 !== 0) this.bits.push(bit)
    return this
  }
  bytes(): number[] {
    const bytes: number[] = []
    for (let i = 0; i < this.bits.length; i += 8) {
      bytes.push(this.bits.slice(i, i + 8).reduce((byte, bit) => byte * 2 + bit, 0))
    }
    return bytes
  }
  trailing(): number[] {
    return this.u(1, 1).align(0).bytes()
  }
}

/** A NAL unit behind a start code, its payload with emulation prevention. */
function nal(header: number, payload: readonly number[]): number[] {
  const escaped: number[] = []
  let zeros = 0
  for (const byte of payload) {
    if (zeros >= 2 && byte <= 3) {
      escaped.push(3)
      zeros = 0
    }
    escaped.push(byte)
    zeros = byte === 0 ? zeros + 1 : 0
  }
  return [0, 0, 0, 1, header, ...escaped]
}

/** Main profile, frame_num of 4 bits, output in decode order (pic_order_cnt_type 2), one reference, fields allowed. */
const SPS = nal(
  0x67,
  new BitWriter()
    .u(77, 8)
    .u(0, 8)
    .u(10, 8)
    .ue(0)
    .ue(0)
    .ue(2)
    .ue(1)
    .u(0, 1)
    .ue(0)
    .ue(0)
    .u(0b001000, 6)
    .trailing(),
)
/** CAVLC; slices control the deblocking filter. */
const PPS = nal(
  0x68,
  new BitWriter().ue(0).ue(0).u(0, 2).ue(0).ue(0).ue(0).u(0, 3).ue(0).ue(0).ue(0).u(0b100, 3).trailing(),
)

function field(frame: number, bottom: boolean, frameNum: number): FieldUnit {
  const idr = frame === 0 && !bottom
  const reference = isReference(frame)
  const bits = new BitWriter()
    .ue(0)
    .ue(7)
    .ue(0)
    .u(frameNum % 16, 4)
    .u(1, 1)
    .u(bottom ? 1 : 0, 1)
  if (idr) bits.ue(0).u(0, 2)
  else if (reference) bits.u(0, 1)
  // slice_qp_delta, disable_deblocking_filter_idc, mb_type I_PCM
  const luma = bottom ? bottomLuma(frame) : topLuma(frame)
  const slice = [
    ...bits.ue(0).ue(1).ue(25).align(0).bytes(),
    ...new Array<number>(256).fill(luma),
    ...new Array<number>(128).fill(128),
    0x80,
  ]
  const unit = nal(idr ? 0x65 : reference ? 0x41 : 0x01, slice)
  return { data: Uint8Array.from(idr ? [...SPS, ...PPS, ...unit] : unit), key: idr }
}

/** The fields of so many frames, in decode and presentation order. */
export function codedFields(frames: number): FieldUnit[] {
  const fields: FieldUnit[] = []
  let frameNum = 0
  for (let frame = 0; frame < frames; frame++) {
    fields.push(field(frame, false, frameNum), field(frame, true, frameNum))
    if (isReference(frame)) frameNum++
  }
  return fields
}
