# SPDX-License-Identifier: Apache-2.0
# The boot sector of the ISO. The firmware loads the whole image at 0x7c00 and jumps to its first
# byte in real mode; from here to 32 bits with flat segments, then into C.
.code16
.section .start, "ax"
.globl _start
_start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7c00, %sp
	inb $0x92, %al			# the A20 gate
	orb $2, %al
	outb %al, $0x92
	lgdt gdtr
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmp $8, $protected
.code32
protected:
	movw $16, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movl $0x7c00, %esp
	call bios_main
halt:
	hlt
	jmp halt

# Every interrupt only ends the hlt in idle(): acknowledge and go back.
.globl interrupt
interrupt:
	pushl %eax
	movb $0x20, %al
	outb %al, $0x20
	popl %eax
	iret

.align 8
gdt:
	.quad 0
	.quad 0x00cf9a000000ffff
	.quad 0x00cf92000000ffff
gdtr:
	.word 23
	.long gdt
.section .note.GNU-stack, "", @progbits
