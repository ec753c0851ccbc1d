/*
 * A libnvcuvid without a GPU, for tests of who calls what when. Its streams are made up: a packet is one picture,
 *
 *   byte 0   'K' (begins with a sequence header) or 'P'
 *   byte 1   what goes wrong: 1 no picture comes of it, 2 the engine reports an error, 4 the engine conceals one,
 *            8 decoding it is refused, 16 parsing it fails, 32 the width is no multiple of 16
 *   'K' only: width / 16, height / 16, bits of a sample, surfaces needed, chroma format
 *
 * behind any number of 0xff and 0xfe, which make it look like VP8: 0xff begins a picture that needs others, 0xfe one that
 * does not. Pictures are shown in order of their timestamps, two late. A mapped picture is all one value: its timestamp's
 * low byte. The engine is done with a picture some status questions after it was submitted, or when it is mapped. Misuse
 * is counted, not answered with a crash. The counts are in the file that FAKE_NVDEC_COUNTS names, if it is set.
 * FAKE_NVDEC_MAKES_NONE: there is no memory for a decoder.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <ffnvcodec/dynlink_cuda.h>
#include <ffnvcodec/dynlink_cuviddec.h>
#include <ffnvcodec/dynlink_nvcuvid.h>

/* Of CUresult, which this header has only a part of. */
enum { INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_SOURCE = 300, NOT_SUPPORTED = 801 };
enum { SURFACES = 64, DELAY = 2, IN_PROGRESS_QUESTIONS = 3 };

typedef struct { int status, questions; long long timestamp; } Surface;
typedef struct {
    CUVIDDECODECREATEINFO info;
    unsigned long width, height;
    Surface surfaces[SURFACES];
    int mapped;
} Decoder;

typedef struct { int surface; long long timestamp; } Picture;
typedef struct {
    CUVIDPARSERPARAMS parameters;
    int surfaces, next, held, begun;
    Picture pictures[SURFACES];
} Parser;

/* What a test asks about afterwards, as ints in this order. */
typedef struct {
    _Atomic int decodersMade, decodersDestroyed, parsersMade, parsersDestroyed, reconfigured, mapped, unmapped, mostMapped;
    _Atomic int misuse, decoded, parsed;
} Counts;
static Counts own, *counts = &own;
void fakeCounts(int *into) { memcpy(into, counts, sizeof *counts); }
__attribute__((constructor)) static void share(void)
{
    const char *name = getenv("FAKE_NVDEC_COUNTS");
    int file = name ? open(name, O_RDWR | O_CREAT, 0600) : -1;
    if (file >= 0 && !ftruncate(file, sizeof(Counts)))
        counts = mmap(0, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

/* Of the packet that the thread is parsing. */
static __thread long long parsing;
static __thread int refuse, fault;

CUresult cuvidGetDecoderCaps(CUVIDDECODECAPS *caps)
{
    memset(&caps->bIsSupported, 0, sizeof *caps - offsetof(CUVIDDECODECAPS, bIsSupported));
    if (caps->eCodecType == cudaVideoCodec_AV1) return CUDA_SUCCESS;
    if (caps->nBitDepthMinus8 > 2 || caps->eChromaFormat != cudaVideoChromaFormat_420) return CUDA_SUCCESS;
    caps->bIsSupported = 1, caps->nNumNVDECs = 7, caps->nOutputFormatMask = caps->nBitDepthMinus8 ? 3 : 1;
    caps->nMinWidth = 48, caps->nMinHeight = 32, caps->nMaxWidth = 4096, caps->nMaxHeight = 4096;
    caps->nMaxMBCount = 65536;
    return CUDA_SUCCESS;
}

CUresult cuvidCreateVideoParser(CUvideoparser *parser, CUVIDPARSERPARAMS *parameters)
{
    Parser *made = calloc(1, sizeof *made);
    made->parameters = *parameters;
    *parser = made;
    counts->parsersMade++;
    return CUDA_SUCCESS;
}

CUresult cuvidDestroyVideoParser(CUvideoparser parser)
{
    free(parser);
    counts->parsersDestroyed++;
    return CUDA_SUCCESS;
}

/* Shows the picture with the least timestamp. */
static int show(Parser *p)
{
    int first = 0;
    CUVIDPARSERDISPINFO info;
    for (int i = 1; i < p->held; i++)
        if (p->pictures[i].timestamp < p->pictures[first].timestamp) first = i;
    memset(&info, 0, sizeof info);
    info.picture_index = p->pictures[first].surface, info.timestamp = p->pictures[first].timestamp;
    info.progressive_frame = 1;
    p->pictures[first] = p->pictures[--p->held];
    return p->parameters.pfnDisplayPicture(p->parameters.pUserData, &info);
}

static int freeSurface(Parser *p)
{
    for (int i = 0; i < p->surfaces; i++, p->next++) {
        int surface = p->next % p->surfaces, held = 0;
        for (int k = 0; k < p->held; k++) held |= p->pictures[k].surface == surface;
        if (!held) return p->next++ % p->surfaces;
    }
    counts->misuse++;
    return 0;
}

CUresult cuvidParseVideoData(CUvideoparser parser, CUVIDSOURCEDATAPACKET *packet)
{
    Parser *p = parser;
    const unsigned char *data = packet->payload;
    CUVIDPICPARAMS picture;
    if (packet->flags & CUVID_PKT_ENDOFSTREAM) {
        while (p->held) if (!show(p)) return CUDA_ERROR_UNKNOWN;
        return CUDA_SUCCESS;
    }
    if (packet->flags != (CUVID_PKT_TIMESTAMP | CUVID_PKT_ENDOFPICTURE)) counts->misuse++;
    counts->parsed++;
    while (*data >= 0xfe) data++;
    if (data[1] & 16) return INVALID_SOURCE;
    if (*data == 'K') {
        CUVIDEOFORMAT format;
        memset(&format, 0, sizeof format);
        format.codec = p->parameters.CodecType, format.chroma_format = data[6];
        format.coded_width = data[2] * 16, format.coded_height = data[3] * 16;
        /* As nvcuvid does with MPEG-1 to MPEG-4. */
        if (p->parameters.CodecType <= cudaVideoCodec_MPEG4) format.coded_width -= data[1] & 32 ? 4 : 0;
        format.display_area.right = data[2] * 16 - 4, format.display_area.bottom = data[3] * 16 - 2;
        format.bit_depth_luma_minus8 = format.bit_depth_chroma_minus8 = data[4] - 8;
        format.min_num_decode_surfaces = data[5];
        format.video_signal_description.matrix_coefficients = 1;
        format.video_signal_description.video_full_range_flag = 1;
        if (p->begun) while (p->held) if (!show(p)) return CUDA_ERROR_UNKNOWN;
        p->surfaces = p->parameters.pfnSequenceCallback(p->parameters.pUserData, &format), p->begun = 1;
        if (p->surfaces == 0) return CUDA_ERROR_UNKNOWN;
        if (p->surfaces < data[5]) counts->misuse++;
    }
    if (data[1] & 1) return CUDA_SUCCESS;
    if (!p->begun) return CUDA_SUCCESS;
    memset(&picture, 0, sizeof picture);
    picture.CurrPicIdx = freeSurface(p);
    parsing = packet->timestamp, refuse = data[1] & 8;
    fault = data[1] & 2 ? cuvidDecodeStatus_Error : data[1] & 4 ? cuvidDecodeStatus_Error_Concealed : 0;
    if (!p->parameters.pfnDecodePicture(p->parameters.pUserData, &picture)) return CUDA_ERROR_UNKNOWN;
    p->pictures[p->held].surface = picture.CurrPicIdx, p->pictures[p->held++].timestamp = packet->timestamp;
    while (p->held > DELAY) if (!show(p)) return CUDA_ERROR_UNKNOWN;
    return CUDA_SUCCESS;
}

CUresult cuvidCreateDecoder(CUvideodecoder *decoder, CUVIDDECODECREATEINFO *info)
{
    Decoder *d;
    if (getenv("FAKE_NVDEC_MAKES_NONE")) return OUT_OF_MEMORY;
    d = calloc(1, sizeof *d);
    if (info->ulWidth > info->ulMaxWidth || info->ulHeight > info->ulMaxHeight) counts->misuse++;
    if (info->ulTargetWidth != info->ulWidth || (unsigned long)info->display_area.right != info->ulWidth) counts->misuse++;
    if (info->OutputFormat != (info->bitDepthMinus8 ? cudaVideoSurfaceFormat_P016 : cudaVideoSurfaceFormat_NV12))
        counts->misuse++;
    d->info = *info, d->width = info->ulWidth, d->height = info->ulHeight;
    *decoder = d;
    counts->decodersMade++;
    return CUDA_SUCCESS;
}

CUresult cuvidReconfigureDecoder(CUvideodecoder decoder, CUVIDRECONFIGUREDECODERINFO *info)
{
    Decoder *d = decoder;
    if (d->mapped) counts->misuse++;
    if (info->ulWidth > d->info.ulMaxWidth || info->ulHeight > d->info.ulMaxHeight) counts->misuse++;
    if (info->ulNumDecodeSurfaces != d->info.ulNumDecodeSurfaces) counts->misuse++;
    d->width = info->ulWidth, d->height = info->ulHeight;
    counts->reconfigured++;
    return CUDA_SUCCESS;
}

CUresult cuvidDestroyDecoder(CUvideodecoder decoder)
{
    if (((Decoder *)decoder)->mapped) counts->misuse++;
    free(decoder);
    counts->decodersDestroyed++;
    return CUDA_SUCCESS;
}

CUresult cuvidDecodePicture(CUvideodecoder decoder, CUVIDPICPARAMS *picture)
{
    Decoder *d = decoder;
    Surface *s = &d->surfaces[picture->CurrPicIdx];
    if ((unsigned long)picture->CurrPicIdx >= d->info.ulNumDecodeSurfaces) counts->misuse++;
    if (refuse) return INVALID_VALUE;
    s->status = fault ? fault : cuvidDecodeStatus_Success, s->questions = 0, s->timestamp = parsing;
    counts->decoded++;
    return CUDA_SUCCESS;
}

CUresult cuvidGetDecodeStatus(CUvideodecoder decoder, int surface, CUVIDGETDECODESTATUS *status)
{
    Decoder *d = decoder;
    Surface *s = &d->surfaces[surface];
    if (d->info.CodecType == cudaVideoCodec_VP9) return NOT_SUPPORTED;
    status->decodeStatus = s->questions++ < IN_PROGRESS_QUESTIONS ? cuvidDecodeStatus_InProgress : s->status;
    return CUDA_SUCCESS;
}

CUresult cuvidMapVideoFrame64(CUvideodecoder decoder, int surface, unsigned long long *address, unsigned *pitch,
                              CUVIDPROCPARAMS *parameters)
{
    Decoder *d = decoder;
    unsigned char *memory;
    if (!parameters->output_stream) counts->misuse++;
    if ((unsigned long)++d->mapped > d->info.ulNumOutputSurfaces) counts->misuse++;
    *pitch = 8192;
    memory = malloc(*pitch * d->height * 3 / 2);
    memset(memory, (int)d->surfaces[surface].timestamp, *pitch * d->height * 3 / 2);
    *address = (unsigned long long)memory;
    d->surfaces[surface].questions = IN_PROGRESS_QUESTIONS;
    counts->mapped++;
    if (counts->mapped - counts->unmapped > counts->mostMapped) counts->mostMapped = counts->mapped - counts->unmapped;
    return CUDA_SUCCESS;
}

CUresult cuvidUnmapVideoFrame64(CUvideodecoder decoder, unsigned long long address)
{
    Decoder *d = decoder;
    if (--d->mapped < 0) counts->misuse++;
    memset((void *)address, 0xee, 16);
    free((void *)address);
    counts->unmapped++;
    return CUDA_SUCCESS;
}

CUresult cuvidCtxLockCreate(CUvideoctxlock *lock, CUcontext context) { *lock = (CUvideoctxlock)context; return CUDA_SUCCESS; }
CUresult cuvidCtxLockDestroy(CUvideoctxlock lock) { return CUDA_SUCCESS; }
CUresult cuvidCtxLock(CUvideoctxlock lock, unsigned flags) { return flags ? INVALID_VALUE : CUDA_SUCCESS; }
CUresult cuvidCtxUnlock(CUvideoctxlock lock, unsigned flags) { return CUDA_SUCCESS; }
