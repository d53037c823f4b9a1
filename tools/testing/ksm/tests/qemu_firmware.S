/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All the software of a virtual machine in which the memory of guests is merged:
 * 64 KiB that QEMU puts at the end of the first 4 GiB, where a processor starts.
 *
 * It fills the memory from FIRST to END so that each word holds its own address
 * xor a key: the same in all guests, different from page to page. Then it says
 * "F" on the serial line and obeys letters that come from there:
 *
 *	v	look whether every word is what was written; answer G (good) or B (bad)
 *	w	write the first half anew, with another key; answer W
 *	d	change one word of the second half, and forget that; answer D
 *
 * Between letters the processor sleeps, until the serial line interrupts.
 */

/* Any multiple of 2 MiB will do; the test knows how many pages there are. */
#define FIRST		0x00200000
#define MIDDLE		0x00a00000
#define END		0x01200000
#define STACK		0x00008000

#define KEY		0x4b534d31
#define OTHER_KEY	0x0b5e55ed

/* The first serial line: registers, and its interrupt at the controller */
#define DATA		0x3f8
#define ENABLE		0x3f9
#define MODEM		0x3fc
#define STATUS		0x3fd
#define RECEIVED	0x01
#define MAY_SEND	0x20
#define CONTROLLER	0x20
#define VECTORS		0x20
#define SERIAL_IRQ	4

	.text
	.globl	start
	.code16
start:
	cli
	lgdtl	%cs:(gdt_pointer - start)
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$8, $protected

	.code32
protected:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$STACK, %esp
	lidtl	idt_pointer
	call	listen

	/* From here on %ebp is the key of the first half. */
	movl	$KEY, %ebp
	movl	%ebp, %esi
	movl	$FIRST, %edi
	movl	$END, %ecx
	call	fill
	movb	$'F', %al
answer:
	call	send
	call	receive
	cmpb	$'v', %al
	je	verify
	cmpb	$'w', %al
	je	rewrite
	cmpb	$'d', %al
	je	damage
	movb	$'?', %al
	jmp	answer

verify:
	movl	%ebp, %esi
	movl	$FIRST, %edi
	movl	$MIDDLE, %ecx
	call	compare
	jne	bad
	movl	$KEY, %esi
	movl	$END, %ecx
	call	compare
	jne	bad
	movb	$'G', %al
	jmp	answer
bad:
	movb	$'B', %al
	jmp	answer

rewrite:
	movl	$OTHER_KEY, %ebp
	movl	%ebp, %esi
	movl	$FIRST, %edi
	movl	$MIDDLE, %ecx
	call	fill
	movb	$'W', %al
	jmp	answer

damage:
	notl	END - 4
	movb	$'D', %al
	jmp	answer

/* Fill the words from %edi up to %ecx by the key %esi; then %edi is %ecx. */
fill:
	movl	%edi, %eax
	xorl	%esi, %eax
	stosl
	cmpl	%ecx, %edi
	jb	fill
	ret

/* Likewise compare them: "equal" if all are as fill leaves them. */
compare:
	movl	%edi, %eax
	xorl	%esi, %eax
	scasl
	jne	1f
	cmpl	%ecx, %edi
	jb	compare
1:	ret

/* Send the letter %al. */
send:
	movb	%al, %ah
	movw	$STATUS, %dx
1:	inb	%dx, %al
	testb	$MAY_SEND, %al
	jz	1b
	movb	%ah, %al
	movw	$DATA, %dx
	outb	%al, %dx
	ret

/* Sleep until there is a letter; return it in %al. Interrupts are on only in sleep. */
receive:
	movw	$STATUS, %dx
	inb	%dx, %al
	testb	$RECEIVED, %al
	jnz	1f
	sti
	hlt
	cli
	jmp	receive
1:	movw	$DATA, %dx
	inb	%dx, %al
	ret

/* The serial line may interrupt, nothing else may. */
listen:
	movb	$0x11, %al
	outb	%al, $CONTROLLER
	movb	$VECTORS, %al
	outb	%al, $CONTROLLER + 1
	movb	$4, %al
	outb	%al, $CONTROLLER + 1
	movb	$1, %al
	outb	%al, $CONTROLLER + 1
	movb	$~(1 << SERIAL_IRQ), %al
	outb	%al, $CONTROLLER + 1
	movw	$ENABLE, %dx
	movb	$1, %al
	outb	%al, %dx
	movw	$MODEM, %dx
	movb	$8, %al
	outb	%al, %dx
	ret

/* It has woken the processor, which was its purpose. */
interrupted:
	pushl	%eax
	movb	$0x20, %al
	outb	%al, $CONTROLLER
	popl	%eax
	iretl

	/* Flat code and data, marked as accessed: the processor cannot write here. */
	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

	.balign	8
idt:
	.fill	VECTORS + SERIAL_IRQ, 8, 0
	.word	interrupted - start
	.word	8
	.word	0x8e00
	.word	0xffff
idt_pointer:
	.word	. - idt - 1
	.long	idt

	/* Where the processor starts */
	.org	0xfff0
	.code16
	jmp	start
	.org	0x10000
