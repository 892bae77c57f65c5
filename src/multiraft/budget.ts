/** Commands and bytes of all groups that were taken and not settled yet. */
export class Budget {
  readonly countMax: number;
  readonly bytesMax: number;
  count = 0;
  bytes = 0;

  constructor(countMax: number, bytesMax: number) {
    this.countMax = countMax;
    this.bytesMax = bytesMax;
  }

  fits(bytes: number): boolean {
    return this.count < this.countMax && this.bytes + bytes <= this.bytesMax;
  }

  take(bytes: number): void {
    this.count++;
    this.bytes += bytes;
  }

  give(count: number, bytes: number): void {
    this.count -= count;
    this.bytes -= bytes;
  }
}
