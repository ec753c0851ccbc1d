import type { Pointer } from 'bun:ffi'
import { AVERROR_EAGAIN, AVERROR_EOF, allocated, check } from '../../ffi/libav/check.ts'
import { libav } from '../../ffi/libav/library.ts'
import { PointerCell, pointerAt, text } from '../../ffi/libav/memory.ts'

/**
 * MPEG-4 part 2 from AVI may hold two pictures in one packet and an empty one in the next ("packed B-frames").
 * libavcodec's bitstream filter puts one into each, so that a packet is a picture and every picture has its own index.
 */
export class UnpackedPackets {
  private readonly libav = libav()
  private readonly filter = new PointerCell()
  /** The stream's AVCodecParameters after the filter. */
  readonly parameters: number
  /** Whether the last packet has been received. */
  ended = false

  /** @param parameters AVCodecParameters of the stream. */
  constructor(parameters: Pointer) {
    const { avcodec, offsets } = this.libav
    const name = 'mpeg4_unpack_bframes'
    const filter = allocated('av_bsf_get_by_name', avcodec.av_bsf_get_by_name(text(name)))
    check('av_bsf_alloc', avcodec.av_bsf_alloc(filter, this.filter.cell))
    const input = pointerAt(this.filter.value, offsets.AVBSFContext.par_in) as Pointer
    check('avcodec_parameters_copy', avcodec.avcodec_parameters_copy(input, parameters))
    check('av_bsf_init', avcodec.av_bsf_init(this.filter.value as Pointer))
    this.parameters = pointerAt(this.filter.value, offsets.AVBSFContext.par_out)
  }

  /** Hands in the next packet, or null at the end. */
  send(packet: Pointer | null): void {
    const status = this.libav.avcodec.av_bsf_send_packet(this.filter.value as Pointer, packet)
    if (status !== AVERROR_EOF) check('av_bsf_send_packet', status)
  }

  /** Takes a filtered packet. @returns false if there is none, until more is sent or, once `ended`, for good. */
  receive(packet: Pointer): boolean {
    const { avcodec } = this.libav
    avcodec.av_packet_unref(packet)
    for (;;) {
      const status = avcodec.av_bsf_receive_packet(this.filter.value as Pointer, packet)
      if (status >= 0) return true
      if (status === AVERROR_EOF) this.ended = true
      if (status === AVERROR_EAGAIN || status === AVERROR_EOF) return false
      check('av_bsf_receive_packet', status)
    }
  }

  close(): void {
    this.libav.avcodec.av_bsf_free(this.filter.cell)
  }
}
