/*
 * Prints, as one JSON object, where the fields that rnb reads and writes lie in CUPTI's structs, for the headers that this
 * is compiled against. C++, as cupti_profiler_host.h is. Run by generate-offsets.ts.
 */
#include <cstddef>
#include <cstdio>
#include <cupti.h>
#include <cupti_profiler_host.h>
#include <cupti_range_profiler.h>
#include <cupti_target.h>

static const char *separator = "";

static void put(const char *name, size_t value)
{
    printf("%s\"%s\":%zu", separator, name, value);
    separator = ",";
}

static void begin(const char *name)
{
    printf("%s\"%s\":{", separator, name);
    separator = "";
}

static void end(size_t size)
{
    put("sizeof", size);
    printf("}");
    separator = ",";
}

#define FIELD(type, field) put(#field, offsetof(type, field))

/* Where a parameter lies, and how many bytes it has. */
#define PARAMETER(type, field) FIELD(type, field); put(#field " bytes", sizeof(((type *)0)->field))

/* Of parameters: the size that a call is told, which ends with the last field. */
#define PARAMETERS(type) begin(#type); put("structSize", offsetof(type, structSize))
#define END(type) end(type##_STRUCT_SIZE)

/* Fields that all versions of the record that CUPTI 12 and 13 write have, at the same places. */
template <class K> static void kernel(const char *name)
{
    begin(name);
    FIELD(K, registersPerThread);
    FIELD(K, start);
    FIELD(K, end);
    FIELD(K, deviceId);
    FIELD(K, streamId);
    FIELD(K, gridX);
    FIELD(K, gridY);
    FIELD(K, gridZ);
    FIELD(K, blockX);
    FIELD(K, blockY);
    FIELD(K, blockZ);
    FIELD(K, staticSharedMemory);
    FIELD(K, dynamicSharedMemory);
    FIELD(K, localMemoryPerThread);
    FIELD(K, correlationId);
    FIELD(K, name);
    FIELD(K, sharedMemoryExecuted);
    FIELD(K, graphNodeId);
    FIELD(K, graphId);
    FIELD(K, clusterX);
    FIELD(K, clusterY);
    FIELD(K, clusterZ);
    end(0);
}

template <class C> static void transfer(const char *name)
{
    begin(name);
    FIELD(C, bytes);
    FIELD(C, start);
    FIELD(C, end);
    FIELD(C, deviceId);
    FIELD(C, streamId);
    FIELD(C, correlationId);
    FIELD(C, graphNodeId);
    FIELD(C, graphId);
}

int main(void)
{
    printf("{");

    kernel<CUpti_ActivityKernel10>("CUpti_ActivityKernel");
    kernel<CUpti_ActivityKernel9>("CUpti_ActivityKernel9");

    transfer<CUpti_ActivityMemcpy6>("CUpti_ActivityMemcpy");
    FIELD(CUpti_ActivityMemcpy6, copyKind);
    end(0);
    transfer<CUpti_ActivityMemcpy5>("CUpti_ActivityMemcpy5");
    FIELD(CUpti_ActivityMemcpy5, copyKind);
    end(0);
    transfer<CUpti_ActivityMemcpyPtoP4>("CUpti_ActivityMemcpyPtoP");
    FIELD(CUpti_ActivityMemcpyPtoP4, srcDeviceId);
    FIELD(CUpti_ActivityMemcpyPtoP4, dstDeviceId);
    end(0);
    transfer<CUpti_ActivityMemset4>("CUpti_ActivityMemset");
    end(0);

    begin("CUpti_ActivityOverhead");
    FIELD(CUpti_ActivityOverhead3, overheadKind);
    FIELD(CUpti_ActivityOverhead3, start);
    FIELD(CUpti_ActivityOverhead3, end);
    end(0);
    begin("CUpti_ActivityOverhead2");
    FIELD(CUpti_ActivityOverhead2, overheadKind);
    FIELD(CUpti_ActivityOverhead2, start);
    FIELD(CUpti_ActivityOverhead2, end);
    end(0);

    begin("CUpti_ActivityExternalCorrelation");
    FIELD(CUpti_ActivityExternalCorrelation, externalKind);
    FIELD(CUpti_ActivityExternalCorrelation, externalId);
    FIELD(CUpti_ActivityExternalCorrelation, correlationId);
    end(sizeof(CUpti_ActivityExternalCorrelation));

    PARAMETERS(CUpti_Profiler_Initialize_Params);
    END(CUpti_Profiler_Initialize_Params);

    PARAMETERS(CUpti_Device_GetChipName_Params);
    PARAMETER(CUpti_Device_GetChipName_Params, deviceIndex);
    PARAMETER(CUpti_Device_GetChipName_Params, pChipName);
    END(CUpti_Device_GetChipName_Params);

    PARAMETERS(CUpti_Profiler_GetCounterAvailability_Params);
    PARAMETER(CUpti_Profiler_GetCounterAvailability_Params, ctx);
    PARAMETER(CUpti_Profiler_GetCounterAvailability_Params, counterAvailabilityImageSize);
    PARAMETER(CUpti_Profiler_GetCounterAvailability_Params, pCounterAvailabilityImage);
    END(CUpti_Profiler_GetCounterAvailability_Params);

    PARAMETERS(CUpti_Profiler_Host_Initialize_Params);
    PARAMETER(CUpti_Profiler_Host_Initialize_Params, profilerType);
    PARAMETER(CUpti_Profiler_Host_Initialize_Params, pChipName);
    PARAMETER(CUpti_Profiler_Host_Initialize_Params, pCounterAvailabilityImage);
    PARAMETER(CUpti_Profiler_Host_Initialize_Params, pHostObject);
    END(CUpti_Profiler_Host_Initialize_Params);

    PARAMETERS(CUpti_Profiler_Host_Deinitialize_Params);
    PARAMETER(CUpti_Profiler_Host_Deinitialize_Params, pHostObject);
    END(CUpti_Profiler_Host_Deinitialize_Params);

    PARAMETERS(CUpti_Profiler_Host_ConfigAddMetrics_Params);
    PARAMETER(CUpti_Profiler_Host_ConfigAddMetrics_Params, pHostObject);
    PARAMETER(CUpti_Profiler_Host_ConfigAddMetrics_Params, ppMetricNames);
    PARAMETER(CUpti_Profiler_Host_ConfigAddMetrics_Params, numMetrics);
    END(CUpti_Profiler_Host_ConfigAddMetrics_Params);

    PARAMETERS(CUpti_Profiler_Host_GetConfigImageSize_Params);
    PARAMETER(CUpti_Profiler_Host_GetConfigImageSize_Params, pHostObject);
    PARAMETER(CUpti_Profiler_Host_GetConfigImageSize_Params, configImageSize);
    END(CUpti_Profiler_Host_GetConfigImageSize_Params);

    PARAMETERS(CUpti_Profiler_Host_GetConfigImage_Params);
    PARAMETER(CUpti_Profiler_Host_GetConfigImage_Params, pHostObject);
    PARAMETER(CUpti_Profiler_Host_GetConfigImage_Params, configImageSize);
    PARAMETER(CUpti_Profiler_Host_GetConfigImage_Params, pConfigImage);
    END(CUpti_Profiler_Host_GetConfigImage_Params);

    PARAMETERS(CUpti_Profiler_Host_EvaluateToGpuValues_Params);
    PARAMETER(CUpti_Profiler_Host_EvaluateToGpuValues_Params, pHostObject);
    PARAMETER(CUpti_Profiler_Host_EvaluateToGpuValues_Params, pCounterDataImage);
    PARAMETER(CUpti_Profiler_Host_EvaluateToGpuValues_Params, counterDataImageSize);
    PARAMETER(CUpti_Profiler_Host_EvaluateToGpuValues_Params, rangeIndex);
    PARAMETER(CUpti_Profiler_Host_EvaluateToGpuValues_Params, ppMetricNames);
    PARAMETER(CUpti_Profiler_Host_EvaluateToGpuValues_Params, numMetrics);
    PARAMETER(CUpti_Profiler_Host_EvaluateToGpuValues_Params, pMetricValues);
    END(CUpti_Profiler_Host_EvaluateToGpuValues_Params);

    PARAMETERS(CUpti_RangeProfiler_Enable_Params);
    PARAMETER(CUpti_RangeProfiler_Enable_Params, ctx);
    PARAMETER(CUpti_RangeProfiler_Enable_Params, pRangeProfilerObject);
    END(CUpti_RangeProfiler_Enable_Params);

    PARAMETERS(CUpti_RangeProfiler_Disable_Params);
    PARAMETER(CUpti_RangeProfiler_Disable_Params, pRangeProfilerObject);
    END(CUpti_RangeProfiler_Disable_Params);

    PARAMETERS(CUpti_RangeProfiler_GetCounterDataSize_Params);
    PARAMETER(CUpti_RangeProfiler_GetCounterDataSize_Params, pRangeProfilerObject);
    PARAMETER(CUpti_RangeProfiler_GetCounterDataSize_Params, pMetricNames);
    PARAMETER(CUpti_RangeProfiler_GetCounterDataSize_Params, numMetrics);
    PARAMETER(CUpti_RangeProfiler_GetCounterDataSize_Params, maxNumOfRanges);
    PARAMETER(CUpti_RangeProfiler_GetCounterDataSize_Params, maxNumRangeTreeNodes);
    PARAMETER(CUpti_RangeProfiler_GetCounterDataSize_Params, counterDataSize);
    END(CUpti_RangeProfiler_GetCounterDataSize_Params);

    PARAMETERS(CUpti_RangeProfiler_CounterDataImage_Initialize_Params);
    PARAMETER(CUpti_RangeProfiler_CounterDataImage_Initialize_Params, pRangeProfilerObject);
    PARAMETER(CUpti_RangeProfiler_CounterDataImage_Initialize_Params, counterDataSize);
    PARAMETER(CUpti_RangeProfiler_CounterDataImage_Initialize_Params, pCounterData);
    END(CUpti_RangeProfiler_CounterDataImage_Initialize_Params);

    PARAMETERS(CUpti_RangeProfiler_SetConfig_Params);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, pRangeProfilerObject);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, configSize);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, pConfig);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, counterDataImageSize);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, pCounterDataImage);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, range);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, replayMode);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, maxRangesPerPass);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, numNestingLevels);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, minNestingLevel);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, passIndex);
    PARAMETER(CUpti_RangeProfiler_SetConfig_Params, targetNestingLevel);
    END(CUpti_RangeProfiler_SetConfig_Params);

    PARAMETERS(CUpti_RangeProfiler_Start_Params);
    PARAMETER(CUpti_RangeProfiler_Start_Params, pRangeProfilerObject);
    END(CUpti_RangeProfiler_Start_Params);

    PARAMETERS(CUpti_RangeProfiler_Stop_Params);
    PARAMETER(CUpti_RangeProfiler_Stop_Params, pRangeProfilerObject);
    PARAMETER(CUpti_RangeProfiler_Stop_Params, passIndex);
    PARAMETER(CUpti_RangeProfiler_Stop_Params, targetNestingLevel);
    PARAMETER(CUpti_RangeProfiler_Stop_Params, isAllPassSubmitted);
    END(CUpti_RangeProfiler_Stop_Params);

    PARAMETERS(CUpti_RangeProfiler_DecodeData_Params);
    PARAMETER(CUpti_RangeProfiler_DecodeData_Params, pRangeProfilerObject);
    PARAMETER(CUpti_RangeProfiler_DecodeData_Params, numOfRangeDropped);
    END(CUpti_RangeProfiler_DecodeData_Params);

    PARAMETERS(CUpti_RangeProfiler_GetCounterDataInfo_Params);
    PARAMETER(CUpti_RangeProfiler_GetCounterDataInfo_Params, pCounterDataImage);
    PARAMETER(CUpti_RangeProfiler_GetCounterDataInfo_Params, counterDataImageSize);
    PARAMETER(CUpti_RangeProfiler_GetCounterDataInfo_Params, numTotalRanges);
    END(CUpti_RangeProfiler_GetCounterDataInfo_Params);

    printf("}\n");
    return 0;
}
