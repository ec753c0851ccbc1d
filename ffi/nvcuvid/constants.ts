/** Values of nvcuvid's enumerations, which are the same in all releases. */

export const cudaVideoCodec_MPEG1 = 0
export const cudaVideoCodec_MPEG2 = 1
export const cudaVideoCodec_MPEG4 = 2
export const cudaVideoCodec_H264 = 4
export const cudaVideoCodec_HEVC = 8
export const cudaVideoCodec_VP8 = 9
export const cudaVideoCodec_VP9 = 10
export const cudaVideoCodec_AV1 = 11

export const cudaVideoChromaFormat_Monochrome = 0
export const cudaVideoChromaFormat_420 = 1
export const cudaVideoChromaFormat_422 = 2
export const cudaVideoChromaFormat_444 = 3

export const cudaVideoSurfaceFormat_NV12 = 0
export const cudaVideoSurfaceFormat_P016 = 1

export const cudaVideoDeinterlaceMode_Weave = 0
export const cudaVideoCreate_PreferCUVID = 4

export const CUVID_PKT_ENDOFSTREAM = 1
export const CUVID_PKT_TIMESTAMP = 2
export const CUVID_PKT_ENDOFPICTURE = 8

export const cuvidDecodeStatus_Invalid = 0
export const cuvidDecodeStatus_InProgress = 1
export const cuvidDecodeStatus_Success = 2
export const cuvidDecodeStatus_Error = 8
export const cuvidDecodeStatus_Error_Concealed = 9

/** Of CUresult: what nvcuvid answers for codecs whose decode status it does not know. */
export const CUDA_ERROR_NOT_SUPPORTED = 801
