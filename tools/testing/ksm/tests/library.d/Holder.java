// SPDX-License-Identifier: GPL-2.0
// Hold arrays of half a MiB; print their checksum, wait for a line, print it once more.
import java.io.IOException;
import java.util.zip.CRC32;

public class Holder {
	private static final int COUNT = 20;
	private static final int SIZE = 512 * 1024;

	private static long checksum(byte[][] arrays) {
		CRC32 sum = new CRC32();

		for (byte[] array : arrays)
			sum.update(array);
		return sum.getValue();
	}

	public static void main(String[] arguments) throws IOException {
		byte[][] arrays = new byte[COUNT][SIZE];
		int state = 1;

		for (byte[] array : arrays) {
			for (int i = 0; i < SIZE; i++) {
				state = state * 1664525 + 1013904223;
				array[i] = (byte)(state >>> 24);
			}
		}
		System.out.println(checksum(arrays));
		System.in.read();
		System.out.println(checksum(arrays));
	}
}
