import { GCProfiler, getHeapStatistics } from 'node:v8';

/**
 * Bytes of JavaScript heap that `work` allocates: the growth of the used heap plus what each garbage collection
 * meanwhile freed, as V8 reports it before and after every collection. Payload bytes of Buffers are not on that heap.
 */
export function allocatedBytes(work: () => void): number {
  const profiler = new GCProfiler();
  profiler.start();
  const before = getHeapStatistics().used_heap_size;
  work();
  const after = getHeapStatistics().used_heap_size;
  const { statistics } = profiler.stop();
  let freed = 0;
  for (const { beforeGC, afterGC } of statistics) {
    freed += beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize;
  }
  return after - before + freed;
}
