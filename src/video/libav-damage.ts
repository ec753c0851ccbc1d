const FLAGGING = new Set(
  'h264 mpeg1video mpeg2video mpeg4 h263 h263p flv1 msmpeg4v1 msmpeg4v2 msmpeg4v3 wmv1 wmv2 wmv3 vc1'.split(
    ' ',
  ),
)

/**
 * Whether libavcodec's decoder of a codec patches damage and flags the picture. That is more exact than to stop at the
 * first error: what libavcodec complains of is at times no part of any picture. With several threads it may not flag.
 */
export const flagsDamage = (codec: string): boolean => FLAGGING.has(codec)

/**
 * Which pictures of one decoding run are tainted by damage, in terms of what was sent when.
 *
 * A picture depends at most on those sent since the last keyframe that is not presented after it: a leading picture
 * of an open group (sent after the keyframe, shown before it) reaches back to the keyframe before.
 */
export class DamageLog {
  private readonly positions = new Map<number, number>()
  private readonly keys: { position: number; index: number }[] = []
  private readonly damaged: number[] = []
  private readonly outstanding = new Set<number>()
  private sent = 0

  /** Packets sent so far. */
  get count(): number {
    return this.sent
  }

  /** Notes that the packet of presentation index `index` is the next to be sent. */
  send(index: number, key: boolean): void {
    if (key) this.keys.push({ position: this.sent, index })
    if (index >= 0) this.outstanding.add(index)
    this.positions.set(index, this.sent++)
  }

  /** Notes that the picture of presentation index `index` has come out of the decoder. */
  came(index: number): void {
    this.outstanding.delete(index)
  }

  /** Notes that no more pictures come of what has been sent: those that should have are missing. */
  ended(): void {
    for (const index of this.outstanding) this.damageShown(index)
    this.outstanding.clear()
  }

  /** Notes that the picture of the packet sent `back` packets before the last one is damaged or missing. */
  damageSent(back: number): void {
    this.damaged.push(Math.max(0, this.sent - 1 - back))
  }

  /** Notes that the picture of presentation index `index` is damaged. */
  damageShown(index: number): void {
    this.damaged.push(this.positions.get(index) ?? 0)
  }

  get any(): boolean {
    return this.damaged.length > 0
  }

  /** Whether something that the picture of presentation index `index` may depend on, or itself, is damaged. */
  taints(index: number): boolean {
    const position = this.positions.get(index)
    if (position === undefined) return this.any
    const key = this.keys.findLast(k => k.position <= position && k.index <= index)
    return this.damaged.some(p => p <= position && p >= (key?.position ?? 0))
  }
}
